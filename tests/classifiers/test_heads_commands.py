"""`penultimate heads`, on pictures of two colours and an embedding that costs nothing."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifiers import load_head
from classifiers.cli import command as fit_head
from classifiers.distribution.live import Live, Sighting, digest_of, live_path
from classifiers.heads import Answer, Classification
from classifiers.store.records import Rows
from classifiers.store.versions import facts_of, folder_of, serving_version, versions
from extractor.cli.classify import _found as found_of
from extractor.cli.classify import _line as line_of
from extractor.cli.classify import command as classify
from extractor.cli.heads import command as heads
from extractor.cli.heads.comparing import compare
from extractor.cli.heads.drift import drift
from extractor.cli.heads.export import export
from extractor.cli.heads.life import delete, promote, rollback
from extractor.cli.heads.listing import list_, show
from extractor.cli.heads.transfer import transfer
from extractor.settings import DataFolder


@pytest.fixture
def run(invoke, pixels, monkeypatch):
    """As `invoke`, for the commands of `heads` as well."""
    for module in ("comparing", "transfer"):
        monkeypatch.setattr(f"extractor.cli.heads.{module}.open_source", lambda *_, **__: pixels)
    return invoke


@pytest.fixture
def fitted(run, painted: Path) -> Path:
    """Two versions of a head `colours`; the first answers."""
    for kind in ("logistic", "ridge"):
        code, _, err = run(fit_head, painted, "--name", "colours", "--head", kind, "--no-report")
        assert code == 0, err
    return painted


@pytest.mark.parametrize("command", [heads, list_])
def test_heads_are_listed_with_the_version_that_answers(run, fitted: Path, command) -> None:
    code, out, _ = run(command)
    header, row = out.splitlines()
    assert code == 0
    assert header.split() == [
        "name",
        "version",
        "kind",
        "classes",
        "images",
        "accuracy",
        "backbone",
        "created",
    ]
    assert row.split()[:7] == ["colours", "1", "logistic", "2", "24", "100.0%", "pixels"]


def test_without_heads_the_list_says_how_to_fit_one(run) -> None:
    assert run(heads)[1] == "no heads yet: fit one with `fit-head SOURCE --name NAME`\n"


def test_a_damaged_head_does_not_hide_the_others(run, fitted: Path, store: DataFolder) -> None:
    shutil.copytree(store.heads / "colours", store.heads / "other")
    (store.heads / "other/versions/0001/manifest.json").write_text("{")
    rows = json.loads(run(list_, "--json")[1])
    assert [row["name"] for row in rows] == ["colours", "other"]
    assert "other/versions/0001 is damaged" in rows[1]["damage"]
    assert "is damaged" in run(list_)[1]


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says", "listed"),
    [
        (Path.unlink, "head.safetensors is missing", True),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "head.safetensors was changed or cut", True),
        (_flipped, "head.safetensors was changed or cut", False),
    ],
)
def test_a_head_with_damaged_arrays_is_not_shown_as_sound(
    run, fitted: Path, store: DataFolder, spoil, says: str, listed: bool
) -> None:
    """A list looks at sizes alone; what is shown is read."""
    spoil(store.heads / "colours/versions/0001/head.safetensors")
    (row,) = json.loads(run(list_, "--json")[1])
    assert (says in row.get("damage", "")) == listed
    shown = json.loads(run(show, "colours", "--json")[1])
    assert says in shown[0]["damage"]
    assert not any("damage" in row for row in shown[1:])
    code, out, err = run(show, "colours", "--version", 1)
    assert (code, out) == (1, "")
    assert says in err


@pytest.mark.parametrize("file", ["manifest.json", "head.safetensors"])
def test_a_damaged_head_is_mended_by_the_command_that_the_error_names(
    run, painted: Path, store: DataFolder, file: str
) -> None:
    run(fit_head, painted, "--name", "colours", "--no-report")
    (store.heads / "colours/versions/0001" / file).write_text("{")
    code, _, err = run(promote, "colours")
    assert (code, "fit it again with `fit-head SOURCE --name colours --promote`" in err) == (1, True)
    assert "another version" not in err
    code, out, err = run(fit_head, painted, "--name", "colours", "--no-report")
    assert code == 0, err
    assert "the version that should answer is damaged: not compared" in out
    assert "version 1 answers nothing; let version 2 answer: `penultimate heads promote colours`" in out
    assert "let another version (2) answer" in run(promote, "colours", "--version", 1)[2]
    assert run(promote, "colours")[0] == run(delete, "colours", "--version", 1)[0] == 0


@pytest.mark.parametrize("arguments", [(list_,), (show, "colours")])
def test_a_version_that_was_promoted_and_is_gone_is_missed(
    run, fitted: Path, store: DataFolder, arguments
) -> None:
    run(promote, "colours")
    shutil.rmtree(store.heads / "colours/versions/0002")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "version 2 of the head 'colours' was promoted and is not there: version 1 answers" in out
    run(promote, "colours", "--version", 1)
    assert "not there" not in run(*arguments)[1]


def test_the_versions_of_a_head_are_shown_and_all_that_one_says(run, fitted: Path) -> None:
    lines = run(show, "colours")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["version", "1", "2"]
    assert lines[1].split()[1] == "yes"
    facts = json.loads(run(show, "colours", "--version", 2, "--json")[1])
    assert (facts["kind"], facts["serving"], facts["classes"]) == ("ridge", False, ["blue", "red"])
    text = run(show, "colours", "--version", 2)[1]
    assert "2: blue, red" in text
    assert "threshold" in text


def test_promotion_and_rollback_are_one_command_each(run, fitted: Path, store: DataFolder) -> None:
    assert run(promote, "colours")[1] == "colours: version 2 answers\n"
    assert load_head("colours", store).manifest.kind == "ridge"
    assert run(rollback, "colours")[1] == "colours: version 1 answers again\n"
    code, _, err = run(rollback, "colours")
    assert code == 1
    assert "no promotion left to go back on: version 1 answers" in err


def test_fit_head_promotes_when_it_is_told_to(run, fitted: Path, store: DataFolder) -> None:
    code, out, _ = run(fit_head, fitted, "--name", "colours", "--promote", "--json")
    facts = json.loads(out)
    assert (code, facts["version"], facts["serving"], serving_version("colours", store)) == (0, 3, 3, 3)
    assert facts["against_serving"]["n"] == 6


def test_two_versions_are_compared_on_images_that_neither_has_seen(run, fitted: Path) -> None:
    code, out, _ = run(compare, "colours")
    assert code == 0
    assert "version 2 against version 1, on 6 images that neither was fitted on: 100.0% against 100.0%" in out
    held = json.loads(run(compare, "colours", 1, 2, "--json")[1])
    assert (held["version"], held["other"], held["n"]) == (1, 2, 6)


def test_images_that_changed_or_are_gone_are_not_compared_on(run, fitted: Path, paint) -> None:
    for file in (fitted / "red").iterdir():
        file.unlink()
    for i in range(12):
        paint(f"painted/blue/{i}.png", (60, 60, 180), 900 + i)
    code, _, err = run(compare, "colours")
    assert code == 1
    assert "no image that versions 2 and 1 of 'colours' have not seen is there" in err


def test_a_version_or_a_head_is_deleted(run, fitted: Path, store: DataFolder) -> None:
    assert run(delete, "colours", "--version", 1)[0] == 1
    assert run(delete, "colours", "--version", 2)[0] == 0
    assert versions("colours", store) == [1]
    assert run(delete, "colours", "--yes")[0] == 0
    assert not (store.heads / "colours").exists()


def test_a_head_goes_only_after_a_yes(run, fitted: Path, store: DataFolder, monkeypatch) -> None:
    code, _, err = run(delete, "colours")
    assert code == 1
    assert "Nobody can be asked here: say so with --yes" in err
    for typed, ends in (
        ("n\n", (1, "Error: nothing was changed")),
        ("", (130, "Interrupted. Nothing was changed.")),
    ):
        terminal = io.StringIO(typed)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        code, _, err = run(delete, "colours")
        assert (code, err.splitlines()[-1].endswith(ends[1])) == (ends[0], True)
    assert versions("colours", store) == [1, 2]


def test_a_head_is_exported(run, fitted: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="of the extra `export`")
    code, out, err = run(export, "colours", "--onnx", tmp_path / "c.onnx")
    assert code == 0, err
    assert (
        "c.onnx: embeddings to probabilities, label, distance; 2 classes; on 88 embeddings no figure is"
        in out
    )
    assert (tmp_path / "c.onnx").stat().st_size > 0


def test_a_head_moves_to_another_backbone(run, fitted: Path, pixels, store: DataFolder) -> None:
    pixels.fingerprint = "e" * 64
    code, out, err = run(transfer, "colours")
    assert (code, err) == (0, "")
    assert "100.0% of 6 held-out images are answered rightly, where it was 100.0% on 6" in out
    assert "version 1, which answers, takes the embeddings of another backbone: not compared" in out
    assert load_head("colours", store, version=3).manifest.fingerprint == "e" * 64
    assert load_head("colours", store).manifest.fingerprint == "f" * 64
    code, _, err = run(compare, "colours")
    assert code == 1
    assert (
        "versions 3 and 1 of 'colours' are of different backbones (pixels, eeeeeeeeeeee…; pixels, fff" in err
    )


def test_what_is_gone_or_changed_is_named_when_a_head_moves(run, fitted: Path, pixels, paint) -> None:
    pixels.fingerprint = "e" * 64
    (fitted / "red/3.png").unlink()
    paint("painted/blue/4.png", (60, 60, 180), 777)
    code, out, err = run(transfer, "colours", "--promote", "--json")
    assert code == 3
    assert f"left out: {fitted}/blue/4.png: it is another picture than the one that was labelled" in err
    assert f"left out: {fitted}/red/3.png: it is gone" in err
    facts = json.loads(out)
    assert (facts["version"], facts["serving"], len(facts["gone"])) == (3, 3, 2)


def test_a_head_that_moves_is_fitted_on_all_images_after_its_test(
    run, fitted: Path, pixels, store: DataFolder
) -> None:
    """As it was before; its report lies beside it."""
    pixels.fingerprint = "e" * 64
    assert run(transfer, "colours")[0] == 0
    facts = facts_of("colours", store, 3)
    assert facts["fitting"]["refitted_on_all"]
    assert (facts["fitting"]["train"], facts["fitting"]["test"]) == (18, 6)
    before, after = (Rows.read(folder_of("colours", store, version)) for version in (1, 3))
    assert dict(zip(before.paths, before.splits, strict=True)) == dict(
        zip(after.paths, after.splits, strict=True)
    )
    assert (folder_of("colours", store, 3) / "report.html").exists()


def test_test_images_that_were_given_stay_unseen_when_a_head_moves(
    run, painted: Path, paint, tmp_path: Path, pixels, store: DataFolder
) -> None:
    for i in range(3):
        paint(f"test/red/{i}.png", (180, 60, 60), 500 + i)
        paint(f"test/blue/{i}.png", (60, 60, 180), 600 + i)
    run(fit_head, painted, "--test", tmp_path / "test", "--name", "given", "--no-report")
    pixels.fingerprint = "e" * 64
    assert run(transfer, "given", "--no-report")[0] == 0
    facts = facts_of("given", store, 2)
    assert not facts["fitting"]["refitted_on_all"]
    assert (facts["fitting"]["train"], facts["fitting"]["test"]) == (24, 6)
    assert not (folder_of("given", store, 2) / "report.html").exists()


def test_a_head_of_several_labels_an_image_moves_and_is_compared(
    run, several: Path, pixels, store: DataFolder
) -> None:
    for kind in ("logistic", "ridge"):
        code, out, err = run(
            fit_head, several, "--name", "both", "--multi-label", "--head", kind, "--no-report"
        )
        assert code == 0, err
    assert "version 2 against version 1, on 11 images that neither was fitted on: " in out
    held = json.loads(run(compare, "both", 2, 1, "--json")[1])
    figures = [facts_of("both", store, version)["metrics"]["accuracy"] for version in (2, 1)]
    assert [held["accuracy"], held["other_accuracy"], held["n"]] == [*figures, 11]
    pixels.fingerprint = "e" * 64
    code, out, err = run(transfer, "both")
    assert (code, err) == (0, "")
    moved = load_head("both", store, version=3)
    assert (moved.manifest.classes, moved.model.multi_label) == (["blue", "red"], True)
    assert moved.manifest.metrics["n"] == 11


def test_a_copy_that_was_added_since_is_no_news_to_the_version_that_answers(
    run, painted: Path, paint, store: DataFolder
) -> None:
    """It was fitted on the picture: what it says of a copy that is nearly the same is not held out."""
    run(fit_head, painted, "--name", "colours", "--no-report")
    rows = Rows.read(folder_of("colours", store, 1))
    known = [Path(p) for p, split in zip(rows.paths, rows.splits, strict=True) if split == "train"]
    for file in known:
        with Image.open(file) as image:
            pixels = np.asarray(image).copy()
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(file.with_name(f"copy-{file.name}"))
    out = run(fit_head, painted, "--name", "colours", "--no-report", "--near-duplicates", "0.999999")[1]
    again = Rows.read(folder_of("colours", store, 2))
    held = {path for path, split in zip(again.paths, again.splits, strict=True) if split == "test"}
    fresh = (
        held - {str(file) for file in known} - {str(file.with_name(f"copy-{file.name}")) for file in known}
    )
    assert any("copy-" in path for path in held)
    assert f"on {len(fresh)} images that neither was fitted on" in out


def test_a_head_does_not_move_to_its_own_backbone(run, fitted: Path) -> None:
    code, _, err = run(transfer, "colours")
    assert code == 1
    assert "is one of the backbone pixels already: nothing to do" in err


def test_a_head_without_images_left_does_not_move(run, fitted: Path, pixels, store: DataFolder) -> None:
    pixels.fingerprint = "e" * 64
    shutil.rmtree(fitted)
    code, _, err = run(transfer, "colours")
    assert code == 1
    assert "none of the 24 images of the head 'colours' is there any more" in err
    assert versions("colours", store) == [1, 2]


def test_an_image_of_no_class_is_unknown_unless_one_will_not_have_it(run, fitted: Path, paint) -> None:
    stranger = paint("stranger.png", (10, 250, 10), 5)
    code, out, _ = run(classify, "colours", stranger, "--json")
    (found,) = json.loads(out)
    assert (code, found["label"], found["labels"], found["unknown"]) == (0, "unknown", [], True)
    assert found["score"] > found["unknown_above"] > 0
    assert (found["probability"], found["index"]) == (None, None)
    assert {each["label"] for each in found["next"]} == {"red", "blue"}
    said = f"\tunknown\tdistance {found['score']:.1f}, over {found['unknown_above']:.1f}\t"
    assert said in run(classify, "colours", stranger)[1]
    (forced,) = json.loads(run(classify, "colours", stranger, "--no-reject", "--json")[1])
    assert forced["label"] in {"red", "blue"}
    assert (forced["unknown"], forced["score"], forced["unknown_above"]) == (False, None, None)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (["cat"], "a.png\tcat\t60.0 %\t(next: dog 40.0 %)"),
        (["cat", "dog"], "a.png\tcat, dog\t60.0 %, 40.0 %"),
        (["dog"], "a.png\tdog\t40.0 %\t(next: cat 60.0 %)"),
        (["cat", "owl"], "a.png\tcat, owl\t60.0 %, 10.0 %\t(next: dog 40.0 %)"),
        ([], "a.png\tno label\t\t(next: cat 60.0 %, dog 40.0 %)"),
    ],
)
def test_a_line_names_the_labels_and_not_the_most_probable_class(labels: list[str], line: str) -> None:
    """Where each label has its threshold, the most probable one may be under its own, and the third over."""
    found = Classification([Answer("cat", 0.6, 0), Answer("dog", 0.4, 1), Answer("owl", 0.1, 2)], labels)
    assert line_of({"image": "a.png", **found_of(found, 2, None)}) == line


@pytest.mark.parametrize("command", [show, promote, rollback, delete, compare, transfer])
@pytest.mark.parametrize("name", ["nothing", "../x"])
def test_a_head_that_is_not_there_is_named(run, command, name: str) -> None:
    """Before anything is asked."""
    code, _, err = run(command, name)
    assert code == 1
    assert repr(name) in err
    assert "Nobody can be asked" not in err


def test_of_many_heads_ten_are_named_where_one_is_not_there(run, store: DataFolder) -> None:
    """The sentence is a server's, too: nothing in it is of this machine."""
    for number in range(12):
        (store.heads / f"head{number:02}" / "versions" / "0001").mkdir(parents=True)
    _, _, err = run(show, "x")
    assert "imagenet, head00, head01," in err
    assert "head08 and 3 more: choose one of these" in err
    assert "head09" not in err
    assert str(store.root) not in err


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (0, "nothing to go by: what a server's heads are asked counts"),
        (29, "too little to go by: it takes 30 live images"),
        (40, "no verdict: live images are compared with those that the head was tested on, and it takes 30"),
    ],
)
def test_drift_says_why_it_cannot_tell(run, fitted: Path, store: DataFolder, images: int, said: str) -> None:
    run(fit_head, fitted / "red", "--name", "colours", "--add-class", "crimson", "--promote")
    live = Live([Sighting(1.0, 0, bytes([at]), f"{at}.png") for at in range(images)], images)
    place = live_path("colours", serving_version("colours", store), store)
    live.write(place, digest_of(load_head("colours", store)))
    code, out, err = run(drift, "colours")
    assert (code, err) == (0, "")
    assert said in out
    assert "times that of held-out images" not in out


def test_a_class_that_was_added_counts_among_the_images_and_leaves_none_to_compare_on(
    run, fitted: Path, paint, tmp_path: Path
) -> None:
    for i in range(8):
        paint(f"green/{i}.png", (60, 180, 60), 300 + i)
    run(fit_head, tmp_path / "green", "--name", "colours", "--add-class", "green")
    assert [row["images"] for row in json.loads(run(show, "colours", "--json")[1])] == [24, 24, 32]
    for order in ((3, 1), (1, 3)):
        code, _, err = run(compare, "colours", *order)
        assert code == 1
        assert "version 3 of 'colours' has a class that was added, and no held-out images since" in err
        assert "fit-head SOURCE --name colours" in err
