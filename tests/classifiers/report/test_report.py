"""A report on painted pictures of two kinds, with a copy and a wrong label among them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from classifiers.data.dataset import Dataset
from classifiers.data.features import embed
from classifiers.evaluation.findings import examine
from classifiers.evaluation.labelling import Suggested, Worth
from classifiers.report import pictures as pictures_module
from classifiers.report import report_on, sections, to_text
from classifiers.report.markup import escaped, tag
from classifiers.report.matrix import WIDEST
from classifiers.report.pictures import Pictures
from classifiers.training.train import Training, train

VOID = {"meta", "br"}
NASTY = '<script>alert(1)</script> & "quoted" \'ø ↯ ..'


class Page(HTMLParser):
    """Reads a page, and holds that every element is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found["href"]] if "href" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture
def training(painted: Path, pixels, paint) -> Training:
    for i in range(12, 40):
        paint(f"painted/red/{i}.png", (170, 70, 70), i)
        paint(f"painted/blue/{i}.png", (70, 70, 170), 100 + i)
    paint("painted/red/wrong.png", (60, 60, 185), 999)
    shutil.copy(painted / "blue/1.png", painted / "blue/copy.png")
    return train("colours", embed(pixels, Dataset.read(painted)), backbone="pixels")


def made_of(labels: list[str], names: list[str], pixels, paint, tmp_path: Path, each: int = 6) -> Training:
    rng, rows = np.random.default_rng(0), []
    for at, label in enumerate(labels):
        colour = tuple(int(part) for part in rng.integers(40, 215, 3))
        for number in range(each):
            paint(f"{at}-{number}.png", colour, 50 * at + number)
            rows.append((str(tmp_path / f"{at}-{number}.png"), label))
    features = embed(pixels, Dataset([path for path, _ in rows], [label for _, label in rows]))
    renamed = [f"{names[at % len(names)]}{at}.png" for at in range(len(rows))] if names else features.images
    object.__setattr__(features, "images", renamed)
    return train("many", features, backbone="pixels")


def test_the_page_is_whole_and_needs_nothing_else(training: Training) -> None:
    """Every link leads to a place in it; nothing is loaded, and no script is there."""
    report = report_on(training)
    page = Page(report.html)
    assert page.links
    assert all(
        link.startswith("#") and link[1:] in page.ids | {"confusion"}
        for link in page.links
        if link[:5] != "data:"
    )
    assert not {"script", "link", "iframe", "object", "img"} & {name for name, _ in page.tags}
    assert not re.search(r"https?://|url\(|@import|\son\w+=", report.html)
    assert "default-src 'none'; img-src data:" in report.html


def test_the_page_says_what_was_found(training: Training) -> None:
    text = Page(report_on(training, weights={"source": "PyPI", "licence": "Apache-2.0"}).html).text
    for part in (
        "colours: report of a head",
        "No better than the pictures' colours alone",
        "colours alone, no backbone",
        "Confusion matrix",
        "labelled red",
        "rather blue",
        "Learning curve",
        "AUROC",
        "Apache-2.0",
        training.head.manifest.fingerprint,
        "Wilson (1927)",
    ):
        assert part in text, part


def test_each_cell_of_the_matrix_opens_its_own_pictures(training: Training) -> None:
    report = report_on(training)
    page = Page(report.html)
    confusion = training.metrics.confusion
    for truth, row in enumerate(confusion):
        for answer, count in enumerate(row):
            anchor = f"cell-{truth}-{answer}"
            assert (anchor in page.ids) == (f"#{anchor}" in page.links) == (count > 0)
    section = report.html.split('id="cell-0-0"')[1].split("</section>")[0]
    assert section.count("<figure") == min(confusion[0][0], 8)
    shown = set(re.findall(r'<use href="#(p\d+)"', section))
    assert shown
    assert shown <= set(re.findall(r'<symbol id="(p\d+)"', report.html))


def test_a_planted_wrong_label_and_a_planted_copy_are_named(training: Training) -> None:
    facts = json.loads(report_on(training).json)
    assert [Path(each["image"]).name for each in facts["suspected_labels"]] == ["wrong.png"]
    assert facts["suspected_labels"][0]["likely"] == "blue"
    groups = [{Path(each["image"]).name for each in group} for group in facts["near_copies"]]
    assert any({"1.png", "copy.png"} <= group for group in groups)


def test_a_head_that_has_learnt_nothing_is_called_that_and_judges_no_label(painted: Path, pixels) -> None:
    """Each class has as many red pictures as blue ones."""
    known = Dataset.read(painted)
    labels = [("one", "two")[at // 2 % 2] for at in range(len(known.labels))]
    training = train("noise", embed(pixels, replace(known, labels=labels)), backbone="pixels")
    facts = json.loads(report_on(training).json)
    assert facts["summary"]["baseline"].startswith(("no better than", "not surely better than"))
    assert facts["summary"]["labels"].startswith("not judged: ")
    assert facts["suspected_labels"] == []


def test_near_copies_on_both_sides_of_the_split_are_said_to_be(training: Training) -> None:
    """The first rows were fitted on, the last are tested on."""
    findings = examine(training)
    last = len(findings.judged.images) - 1
    for group, says in (
        ([0, 1], "None of these groups is on both sides of the split."),
        ([0, last], "One is on both sides of the split, which makes the test figures too good."),
    ):
        around = replace(findings.neighbourhood, groups=[group])
        assert says in sections.copies(replace(findings, neighbourhood=around), Pictures([]))


def test_kinds_of_images_that_rejection_would_not_find_are_named(training: Training) -> None:
    rejection = training.head.rejection
    assert rejection is not None
    for blue, said in ((0.162, True), (0.95, False)):
        measured = replace(rejection.measured, left_out={"red": 0.99, "blue": blue})
        head = replace(training.head, rejection=replace(rejection, measured=measured))
        text = Page(sections.unknown(replace(training, head=head))).text
        assert ("Images like those of blue would hardly be found" in text) == said
        assert f"measured on {measured.rows} images that cross-validation held out" in text


def test_the_terminal_counts_copies_and_groups_and_leaves_one_line_between_parts(
    training: Training, both: Training, tmp_path: Path
) -> None:
    lines = to_text(training, tmp_path, False).splitlines()
    assert "; 1 exact copy, kept on one side)" in lines[1]
    assert not any(one == other == "" for one, other in pairwise(to_text(both, tmp_path, False).splitlines()))
    fitting = training.head.manifest.fitting
    manifest = replace(training.head.manifest, fitting=fitting | {"groups": 60})
    grouped = replace(training, head=replace(training.head, manifest=manifest))
    assert "make 60 groups of them" in to_text(grouped, tmp_path, False).splitlines()[1]


def test_the_legend_names_a_temperature_only_where_there_is_one(training: Training) -> None:
    findings = examine(training)
    for heat, without in ((1.0, False), (2.0, True)):
        told = replace(findings, calibration=findings.calibration._replace(temperature=heat))
        assert ("<span>without</span>" in sections.calibration(told)) == without


def test_the_document_has_every_figure_with_its_interval(training: Training) -> None:
    facts = json.loads(report_on(training).json)
    metrics, curve = facts["metrics"], facts["learning_curve"]
    low, high = facts["log_loss"]["interval"]
    assert low <= facts["log_loss"]["value"] <= high
    assert metrics["balanced_accuracy_interval"][0] <= metrics["balanced_accuracy"]
    assert {each["label"] for each in facts["curves"]} == {"blue", "red"}
    assert facts["baselines"]["colours"]["value"] > facts["baselines"]["majority"]
    assert len(curve["accuracy"]) == len(curve["sizes"]) == len(curve["errors"][0])
    assert facts["accuracy"]["validation"] > 0.9
    assert facts["card"]["classes"] == {"blue": 41, "red": 41}
    assert set(facts["summary"]) == {"baseline", "fit", "resplit", "calibrated", "labels", "more"}


def test_names_and_labels_are_text_whatever_they_hold(pixels, paint, tmp_path: Path) -> None:
    labels = [NASTY, "../../etc/passwd", "中文 🐈", "{{body}}{{pictures}}", "a\nb\x1b[31m"]
    names = ["</svg><img src=x onerror=alert(1)>", "x\udce9y", "' onload='"]
    training = made_of(labels, names, pixels, paint, tmp_path)
    report = report_on(training)
    page = Page(report.html)
    report.html.encode()
    assert not {"script", "img"} & {name for name, _ in page.tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    for label in labels[:4]:
        assert label in page.text
    assert r"a\nb\x1b[31m" in page.text
    assert "\x1b" not in report.html
    assert report.html.count('class="store"') == 1
    assert json.loads(report.json)["card"]["classes"].keys() == set(labels)
    assert "\x1b" not in to_text(training, tmp_path, False, report)


def test_many_classes_are_listed_by_their_confusions(pixels, paint, tmp_path: Path) -> None:
    training = made_of([f"c{at:02}" for at in range(WIDEST + 2)], [], pixels, paint, tmp_path, each=4)
    page = Page(report_on(training).html)
    assert 'class="matrix"' not in page.text
    assert all(
        truth != answer for truth, answer in (i.split("-")[1:] for i in page.ids if i.startswith("cell-"))
    )


def test_images_that_are_not_at_hand_are_shown_by_name_and_have_no_colours(
    pixels, paint, tmp_path: Path
) -> None:
    training = made_of(["a", "b"], ["gone/"], pixels, paint, tmp_path, each=12)
    report = report_on(training)
    assert report.findings.no_transfer is None
    assert "<symbol" not in report.html
    assert "not shown" in report.html


def test_pictures_are_bounded_in_number_and_bytes(painted: Path, monkeypatch) -> None:
    files = sorted(str(file) for file in painted.rglob("*.png"))
    monkeypatch.setattr(pictures_module, "MOST", 5)
    assert len(Pictures(enumerate(files))) == 5
    one = len(Pictures([(0, files[0])]).definitions())
    monkeypatch.setattr(pictures_module, "MOST_BYTES", 1500)
    few = Pictures(enumerate(files))
    assert 1 <= len(few) < 5
    assert len(few.definitions()) < one + 2000
    assert few.wanted == len(files)


def test_a_picture_that_is_shown_twice_is_there_once(painted: Path) -> None:
    file = str(painted / "red/1.png")
    both = Pictures([("a", file), ("b", str(painted / "red/2.png")), ("a", file)])
    assert both.definitions().count("<symbol") == 2
    assert both.figure("a", file) == both.figure("a", file)
    assert 'href="#p0"' in both.figure("a", file)
    assert "not shown" in both.figure("c", "c.png")


def test_suggestions_stand_in_the_page_and_the_document(training: Training, painted: Path) -> None:
    picture = str(painted / "red/1.png")
    suggested = Suggested("shelf", 7, [Worth("<b>.png", "red", 0.51, 0.02, 1.0, picture)])
    report = report_on(training, suggested=suggested)
    page = Page(report.html)
    assert "Of 7 images of the collection 'shelf'" in page.text
    assert "<b>.png" in page.text
    (only,) = json.loads(report.json)["label_next"]["images"]
    assert only == {
        "id": "<b>.png",
        "likely": "red",
        "probability": 0.51,
        "margin": 0.02,
        "entropy": 1.0,
        "unknown": False,
    }


@pytest.fixture
def both(several: Path, pixels) -> Training:
    """Red, blue, both, or neither; one that is both is labelled red alone."""
    known = Dataset.read(several, multi_label=True)
    wrong = known.labels.index("blue|red")
    labels = ["red" if at == wrong else label for at, label in enumerate(known.labels)]
    return train("both", embed(pixels, replace(known, labels=labels)), backbone="pixels")


def test_a_head_of_several_labels_an_image_has_a_report_like_others(both: Training) -> None:
    report = report_on(both)
    page, facts = Page(report.html), json.loads(report.json)
    assert facts["multi_label"]
    assert facts["thresholds"] == dict(zip(["blue", "red"], both.head.manifest.thresholds, strict=True))
    assert {each["label"] for each in facts["curves"]} == {"blue", "red"}
    assert facts["accuracy"]["test"] == both.metrics.accuracy
    assert facts["baselines"]["gains"].keys() == {"majority", "colours"}
    assert facts["learning_curve"]["accuracy"][-1]["value"] > 0.9
    for part in ("all labels right", "micro F1", "Found and missed", "threshold", "ROC area", "AUROC"):
        assert (part in page.text) == (part != "AUROC"), part
    counted = {(each["label"], each["truth"], each["answer"]): each["count"] for each in facts["cells"]}
    for each in both.metrics.classes:
        found, missed = (counted.get((each.label, True, said), 0) for said in (True, False))
        assert found + missed == each.support
        assert each.recall == found / each.support
    assert {i for i in page.ids if i.startswith("cell-")} == {
        link[1:] for link in page.links if link.startswith("#cell-")
    }


def test_a_label_that_is_missing_is_named(both: Training) -> None:
    facts = json.loads(report_on(both).json)
    (doubt,) = facts["suspected_labels"]
    assert (doubt["label"], doubt["doubted"], doubt["given"]) == ("red", "blue", False)
    assert "not labelled blue" in Page(report_on(both).html).text


def test_the_loss_of_several_labels_is_that_of_each(both: Training) -> None:
    findings = examine(both)
    judged = findings.judged
    told, truth = judged.probabilities[judged.held_out], judged.labels[judged.held_out]
    assert findings.log_loss.value == pytest.approx(log_loss(truth.ravel(), told.ravel()))
    assert findings.log_loss.low < findings.log_loss.value < findings.log_loss.high < findings.prior_log_loss


def test_the_gain_over_a_baseline_is_of_the_same_images(training: Training) -> None:
    findings = examine(training)
    right = training.metrics.accuracy
    assert findings.gains["majority"].share == pytest.approx(right - training.metrics.majority_accuracy)
    assert findings.gains["colours"].share == pytest.approx(right - findings.no_transfer.value)
    assert findings.gains["majority"].above


def test_given_test_images_are_not_split_again(training: Training) -> None:
    known, unseen = training.known, training.unseen
    again = train("colours", known, unseen, backbone="pixels")
    findings = examine(again)
    assert findings.learning_curve is not None
    assert not findings.learning_curve.resplit
    last = findings.learning_curve.accuracy[-1]
    assert last.high - last.low > 0.01  # all repeats agree there, but the test images are few
    assert "The tested head is the one that is saved." in Page(report_on(again).html).text


def test_stages_are_announced_and_timed(training: Training) -> None:
    lines: list[str] = []
    findings = examine(training, lines.append)
    assert [f"report: {stage} …" for stage in findings.seconds] == lines


def test_markup_is_escaped_in_text_and_attributes() -> None:
    assert escaped("<a> & \"b\" 'c'") == "&lt;a&gt; &amp; &quot;b&quot; &#x27;c&#x27;"
    assert tag("a", "x", class_='"', aria_label="<", id=None) == '<a class="&quot;" aria-label="&lt;">x</a>'
