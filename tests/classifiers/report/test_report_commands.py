"""`fit-head` with its report, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from classifiers.cli import command as fit_head
from extractor.collections import Collection
from extractor.collections.item import FileStamp, Item
from extractor.settings import DataFolder


def shelve(store: DataFolder, pixels, files: Iterable[Path], fingerprint: str = "f" * 64) -> None:
    """A collection `shelf` of pictures without labels."""
    made = Collection.create(store, "shelf", fingerprint=fingerprint, dim=pixels.dim, backbone="pixels")
    with made as collection:
        for file in files:
            (result,) = pixels.embed([str(file)])
            collection.add(
                [
                    Item(
                        id=file.name,
                        vector=result.embedding,
                        digest=result.digest,
                        file=FileStamp.of(str(file)),
                    )
                ]
            )


def test_the_report_lies_beside_the_head_and_is_summed_up(invoke, painted: Path, store: DataFolder) -> None:
    code, out, err = invoke(fit_head, painted, "--name", "colours")
    version = store.heads / "colours" / "versions" / "0001"
    assert code == 0, err
    assert (version / "report.html").read_text().startswith("<!doctype html>")
    assert json.loads((version / "report.json").read_text())["card"]["name"] == "colours"
    for line in (
        "log loss ",
        "colours baseline",
        "fit         100.0 % on the images that it was fitted on",
        "over 8 other random splits (logistic regression)",
        "calibrated  calibration error",
        "labels      none of 24 looks wrong",
        "more        ",
        f"report in {version / 'report.html'}",
    ):
        assert line in out, line
    assert ", report " in next(line for line in out.splitlines() if line.startswith("seconds"))


def test_json_says_where_the_report_is(invoke, painted: Path) -> None:
    _, out, _ = invoke(fit_head, painted, "--name", "colours", "--json")
    report = json.loads(out)["report"]
    assert Path(report["page"]).is_file()
    assert Path(report["document"]).is_file()
    assert {"labels", "more", "calibrated", "seconds"} <= report.keys()


def test_without_a_report_there_is_none(invoke, painted: Path, store: DataFolder) -> None:
    code, out, _ = invoke(fit_head, painted, "--name", "colours", "--no-report")
    assert code == 0
    assert not list(store.heads.rglob("report.*"))
    assert "\nreport in " not in out
    assert ", report " not in out


def test_unlabelled_pictures_of_a_collection_are_suggested(invoke, painted, paint, pixels, store) -> None:
    hard = [paint(f"more/{at}.png", (120, 60, 120), 300 + at) for at in range(4)]
    easy = [paint(f"more/red{at}.png", (200, 40, 40), 400 + at) for at in range(4)]
    shelve(store, pixels, [*hard, *easy, painted / "red/7.png"])
    code, out, err = invoke(fit_head, painted, "--name", "colours", "--suggest", "shelf")
    assert code == 0, err
    facts = json.loads(next(store.heads.rglob("report.json")).read_text())["label_next"]
    assert (facts["collection"], facts["unlabelled"]) == ("shelf", 8)
    first = facts["images"][0]
    assert first["id"] in {file.name for file in hard}
    assert first["unknown"]
    assert "unknown: like no class" in next(store.heads.rglob("report.html")).read_text()
    assert f"\nlabel next  {first['id']}, " in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--suggest", "nowhere"], 1, "'nowhere'"),
        (["--suggest", "shelf", "--no-report"], 2, "--suggest needs the report"),
    ],
)
def test_what_cannot_be_suggested_is_said_before_embedding(
    invoke, pixels, painted, arguments, code, says
) -> None:
    ended, _, err = invoke(fit_head, painted, "--name", "colours", *arguments)
    assert ended == code
    assert says in err
    assert pixels.computed == 0


def test_a_collection_of_another_backbone_is_refused_and_nothing_saved(
    invoke, painted, pixels, store
) -> None:
    shelve(store, pixels, [painted / "red/0.png"], "e" * 64)
    code, _, err = invoke(fit_head, painted, "--name", "colours", "--suggest", "shelf")
    assert code == 1
    assert "eeeeeeeeeeee" in err
    assert "ffffffffffff" in err
    assert not list(store.heads.rglob("manifest.json"))
