from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from classifiers.cli import command as fit_head
from extractor.cli import progress
from extractor.cli.classify import command as classify
from extractor.cli.options import open_source
from extractor.settings import DataFolder


@pytest.fixture
def fitted(invoke, painted: Path) -> Path:
    """A head `colours` that tells red from blue."""
    code, _, err = invoke(fit_head, painted, "--name", "colours")
    assert code == 0, err
    return painted


def test_a_bar_shows_what_is_being_done_and_how_many_settings_were_tried(
    invoke, painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage, the report among them; the settings where they are tried, and nowhere else."""
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "_manner", lambda: {"mininterval": 0, "file": progress._Lines()})
    _, _, err = invoke(fit_head, painted, "--name", "colours")
    tried = re.findall(r"^(.+): (\d+) settings \[", err, re.MULTILINE)
    assert {stage for stage, _ in tried[1:]} == {"choosing the settings"}
    assert int(tried[-1][1]) > 3
    assert "\nfitting with the settings that were best …\n" in err
    assert err.endswith("measuring what is of no class …\nmaking the report …\n")


def test_the_report_has_every_figure(invoke, painted: Path) -> None:
    code, out, err = invoke(fit_head, painted, "--name", "colours")
    assert (code, err) == (0, "fitting on 24 images: settings by cross-validation …\n")
    for figure in (
        "colours: logistic regression on pixels embeddings, 2 classes",
        "18 images to train on, 6 to test on (held out, stratified, seed 0)",
        "accuracy            100.0 %   95 % interval 61.0 to 100.0",
        "balanced accuracy   100.0 %",
        "macro F1            100.0 %",
        "majority baseline   50.0 %   always 'blue'",
        "blue     100.0 %  100.0 %  100.0 %       3",
        "blue       3      0",
        "5-fold cross-validation",
        "seconds   embed",
        "fitted on all 24 with the same setting",
        "try it: penultimate classify colours IMAGE...",
    ):
        assert figure in out


def test_json_is_one_document_with_all_of_it(invoke, painted: Path, store: DataFolder) -> None:
    code, out, _ = invoke(fit_head, painted, "--name", "colours", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["metrics"]["confusion"] == [[3, 0], [0, 3]]
    assert (facts["classes"], facts["fitting"]["train"], facts["replaced"]) == (["blue", "red"], 18, False)
    assert set(facts["seconds"]) == {"embed", "duplicates", "sweep", "fit", "test", "refit", "unknowns"}
    assert facts["path"] == str(store.heads / "colours/versions/0001")
    assert facts["choice"]["strength"] in [trial["strength"] for trial in facts["choice"]["trials"]]


def test_fitting_again_makes_a_version_and_says_which_answers(invoke, fitted: Path) -> None:
    _, out, _ = invoke(fit_head, fitted, "--name", "colours", "--head", "linear-svm")
    assert "version 2 against version 1, on 6 images that neither was fitted on: 100.0% against 100.0%" in out
    assert "version 1 still answers; let version 2 answer: `penultimate heads promote colours`" in out
    assert "linear support vector machine" in out


def test_given_test_images_stay_unseen(invoke, painted: Path, paint, tmp_path: Path) -> None:
    for i in range(3):
        paint(f"test/red/{i}.png", (180, 60, 60), 500 + i)
    code, out, _ = invoke(fit_head, painted, "--name", "colours", "--test", tmp_path / "test", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["fitting"]["train"], facts["fitting"]["test"]) == (24, 3)
    assert not facts["fitting"]["refitted_on_all"]
    assert "refit" not in facts["seconds"]


def test_unusable_images_are_listed_and_the_rest_is_fitted(invoke, painted: Path) -> None:
    (painted / "red/0.png").write_text("text")
    (painted / "green").mkdir()
    code, out, err = invoke(fit_head, painted, "--name", "colours", "--json")
    assert code == 3
    assert "red/0.png: not a picture" in err
    assert "green: the folder" in err
    assert len(json.loads(out)["rejected"]) == 2


def test_missing_and_repeated_paths_of_a_table_are_listed(invoke, painted: Path) -> None:
    rows = [f"{c}/{i}.png,{c}" for c in ("red", "blue") for i in range(12)]
    (painted / "t.csv").write_text("\n".join(["path,label", *rows, "gone.png,red", "red/1.png,red"]))
    code, _, err = invoke(fit_head, painted / "t.csv", "--name", "colours")
    assert code == 3
    assert "gone.png: no such file" in err
    assert "t.csv, line 27: red/1.png is listed more than once" in err


def test_contradictory_labels_are_listed(invoke, painted: Path) -> None:
    (painted / "blue/copy.png").write_bytes((painted / "red/0.png").read_bytes())
    code, _, err = invoke(fit_head, painted, "--name", "colours")
    assert code == 3
    assert err.count("the same picture has the labels blue, red") == 2


def test_a_label_is_printed_whole_whatever_it_holds(invoke, painted: Path) -> None:
    (painted / "red").rename(painted / "rød, «mørk»")
    code, out, _ = invoke(fit_head, painted, "--name", "colours")
    assert code == 0
    assert "rød, «mørk»" in out


def test_many_classes_are_summed_up_by_their_confusions(invoke, paint, tmp_path: Path) -> None:
    for label in range(12):
        for i in range(4):
            paint(f"many/{label:02}/{i}.png", (100, 100, 100 + label // 2), 10 * label + i)
    code, out, _ = invoke(fit_head, tmp_path / "many", "--name", "many")
    assert code == 0
    assert "most frequent confusions" in out
    assert "taken for" in out


def remove_a_class(folder: Path) -> None:
    (folder / "blue").rename(folder.parent / "elsewhere")


def leave_one_image(folder: Path) -> None:
    for file in sorted((folder / "blue").iterdir())[1:]:
        file.unlink()


def break_a_class(folder: Path) -> None:
    for file in (folder / "blue").iterdir():
        file.write_text(file.name)


def empty(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (remove_a_class, "images of one class only, 'red': add another class"),
        (leave_one_image, "the class 'blue' has only one usable image"),
        (break_a_class, "images of one class only, 'red'"),
        (empty, "names no labelled image"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence_and_saves_nothing(invoke, painted, store, harm, says) -> None:
    harm(painted)
    code, out, err = invoke(fit_head, painted, "--name", "colours")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert says in err.splitlines()[-1]
    assert not store.heads.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--name", "../x"], 1, "'../x' cannot be the name of a head"),
        (["--name", "imagenet"], 1, "'imagenet' is taken"),
        (["--name", "x", "--test-size", "25"], 1, "between 0 and 1, for instance 0.25, not 25"),
        (["--name", "x", "--test", "nowhere"], 1, "no such folder or CSV file: nowhere"),
        (["--name", "x", "--head", "forest"], 2, "forest"),
        ([], 2, "--name"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_embedded(
    invoke, pixels, painted, arguments, code, says
) -> None:
    ended, _, err = invoke(fit_head, painted, *arguments)
    assert ended == code
    assert says in err
    assert pixels.computed == 0


def test_a_test_class_that_training_lacks_is_named(
    invoke, pixels, painted: Path, paint, tmp_path: Path
) -> None:
    paint("test/green/1.png", (0, 200, 0), 1)
    code, _, err = invoke(fit_head, painted, "--name", "colours", "--test", tmp_path / "test")
    assert code == 1
    assert "'green', which no training image has; the head knows blue, red" in err
    assert pixels.computed == 0


def test_test_images_that_leave_none_to_fit_on_are_refused(invoke, pixels, painted: Path) -> None:
    """Before anything is embedded."""
    code, _, err = invoke(fit_head, painted, "--name", "colours", "--test", painted)
    assert code == 1
    assert "every image to fit on is among the test images too, so none is left" in err
    assert pixels.computed == 0


def test_copies_of_test_images_are_not_fitted_on(invoke, painted: Path, tmp_path: Path) -> None:
    """They are listed, once; when all are such copies, nothing can be fitted."""
    (tmp_path / "test/red").mkdir(parents=True)
    (tmp_path / "test/red/copy.png").write_bytes((painted / "red/0.png").read_bytes())
    (painted / "red/1.png").write_text("text")
    code, out, err = invoke(fit_head, painted, "--name", "c", "--test", tmp_path / "test", "--json")
    facts = json.loads(out)
    assert code == 3
    assert (facts["fitting"]["train"], len(facts["rejected"])) == (22, 2)
    assert err.splitlines() == [
        f"left out: {painted}/red/0.png: the same picture is among the test images",
        f"left out: {painted}/red/1.png: not a picture",
        "fitting on 22 images: settings by cross-validation …",
    ]
    shutil.copytree(painted, tmp_path / "copies")
    code, _, err = invoke(fit_head, painted, "--name", "c", "--test", tmp_path / "copies")
    assert code == 1
    assert "every image to fit on is among the test images too" in err


def test_a_full_disk_leaves_the_earlier_head(invoke, fitted: Path, store: DataFolder, monkeypatch) -> None:
    before = (store.heads / "colours/versions/0001/head.safetensors").read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = invoke(fit_head, fitted, "--name", "colours", "--head", "linear-svm")
    assert code == 1
    assert "No space left on device; nothing was changed" in err
    assert (store.heads / "colours/versions/0001/head.safetensors").read_bytes() == before


def test_a_data_folder_that_is_a_file_is_refused(painted: Path, invoke, store: DataFolder) -> None:
    store.root.touch()
    code, _, err = invoke(fit_head, painted, "--name", "colours")
    assert code != 0
    assert str(store.root) in err


def test_images_are_labelled(invoke, fitted: Path) -> None:
    code, out, err = invoke(classify, "colours", fitted / "red/1.png", fitted / "blue")
    lines = [line.split("\t") for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [line[1] for line in lines] == ["red"] + ["blue"] * 12
    assert lines[0][0] == str(fitted / "red/1.png")
    assert lines[0][3].startswith("(next: blue ")


def test_labels_as_json_with_the_failures_in_their_place(invoke, fitted: Path) -> None:
    (fitted / "bad.png").write_text("text")
    code, out, _ = invoke(classify, "colours", fitted / "bad.png", fitted / "red/1.png", "--json", "--top", 1)
    bad, red = json.loads(out)
    assert code == 3
    assert bad == {"image": str(fitted / "bad.png"), "error": "not a picture"}
    assert (red["label"], red["index"], red["next"]) == ("red", 1, [])
    assert 0.5 < red["probability"] <= 1


def test_nothing_labelled_is_a_failure(invoke, fitted: Path) -> None:
    code, out, err = invoke(classify, "colours", fitted / "gone.png")
    assert (code, out) == (1, "")
    assert "no such file" in err


def test_classify_uses_the_heads_own_backbone(invoke, fitted: Path, pixels, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("extractor.cli.classify.open_source", open_source)
    monkeypatch.setattr("extractor.embedder.Embedder", lambda name, **_: asked.append(name) or pixels)
    invoke(classify, "colours", fitted / "red/1.png")
    invoke(classify, "colours", fitted / "red/1.png", "--backbone", "other")
    assert asked == ["pixels", "other"]


def test_another_backbone_is_refused_by_both_names(invoke, fitted: Path, pixels) -> None:
    pixels.fingerprint = "e" * 64
    code, _, err = invoke(classify, "colours", fitted / "red/1.png")
    assert code == 1
    assert "ffffffffffff" in err
    assert "eeeeeeeeeeee" in err


@pytest.mark.parametrize("head", ["nothing", "../x"])
def test_a_head_that_is_not_there_is_named(invoke, fitted: Path, head: str) -> None:
    code, _, err = invoke(classify, head, fitted / "red/1.png")
    assert code == 1
    assert repr(head) in err


def test_a_damaged_head_is_named(invoke, fitted: Path, store: DataFolder) -> None:
    (store.heads / "colours/versions/0001/head.safetensors").write_bytes(b"junk")
    code, _, err = invoke(classify, "colours", fitted / "red/1.png")
    assert code == 1
    assert "colours/versions/0001 is damaged" in err


def test_a_folder_without_images_is_named(invoke, fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    code, _, err = invoke(classify, "colours", tmp_path / "none")
    assert code == 1
    assert "holds no image" in err


def test_help_does_not_wait_for_scikit_learn() -> None:
    script = (
        "import sys; import classifiers.cli; print({'numpy', 'sklearn', 'safetensors'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ended.stdout == "set()\n"
