"""`penultimate index`, from the arguments to the exit code."""

import csv
import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extractor.collections import Collection, Item, sqlite
from extractor.settings import DataFolder

Run = Callable[..., tuple[int, str, str]]


def test_index_then_search(call: Run, photos: Path) -> None:
    """A picture finds itself first and its JPEG copy next."""
    code, out, err = call("index", "things", photos)
    assert (code, out) == (0, "")
    assert "6 images: 6 new; " in err
    code, out, _ = call("search", "things", photos / "1-a.png", "-k", 2)
    assert code == 0
    header, first, second = out.splitlines()
    assert header.split() == ["rank", "score", "distance", "id"]
    assert first.split() == ["1", "1.0000", "0.0000", str(photos / "1-a.png")]
    assert second.endswith(str(photos / "1-b.jpg"))


def test_index_again_goes_on(call: Run, photos: Path) -> None:
    """What is there is passed over; what is changed and what is new is taken in."""
    call("index", "things", photos)
    shutil.copyfile(photos / "0-a.png", photos / "1-a.png")
    shutil.copyfile(photos / "0-a.png", photos / "new.png")
    code, out, _ = call("index", "things", photos, "--json")
    summary = json.loads(out)
    assert code == 0
    assert {key: summary[key] for key in ("items", "images", "new", "updated", "unchanged", "cached")} == {
        "items": 7,
        "images": 7,
        "new": 1,
        "updated": 1,
        "unchanged": 5,
        "cached": 2,
    }


def test_corrupt_images_are_listed_and_the_others_indexed(call: Run, photos: Path) -> None:
    """Exit code 3; each bad file is named with its reason, also in the JSON."""
    (photos / "text.jpg").write_text("not a picture")
    (photos / "short.png").write_bytes((photos / "0-a.png").read_bytes()[:300])
    (photos / "empty.png").touch()
    missing = photos / "missing.png"
    code, out, err = call("index", "things", photos, missing, "--json")
    assert code == 3
    bad = {str(photos / name) for name in ("text.jpg", "short.png", "empty.png", "missing.png")}
    summary = json.loads(out)
    assert {failure["id"] for failure in summary["failed"]} == bad
    assert all(failure["error"] for failure in summary["failed"])
    assert summary["items"] == 6
    assert sum(line.startswith("failed: ") for line in err.splitlines()) == 4


def test_a_mistyped_path_makes_no_collection(call: Run, photos: Path, data: DataFolder) -> None:
    """In a collection that is there it fails as one of many would, and is named once."""
    missing = photos / "nosuch"
    code, _, err = call("index", "fresh", missing)
    assert (code, err) == (1, f"Error: no such file or folder: {missing}\n")
    assert not (data.collections / "fresh").exists()
    code, _, err = call("index", "fresh", photos / "0-a.png", missing)
    assert (code, f"failed: no such file: {missing}\n" in err) == (3, True)
    assert "2 images: 1 new, 1 failed; " in err


def test_when_none_can_be_added_the_exit_code_is_1(call: Run, tmp_path: Path) -> None:
    """And searching what is empty then says what to do."""
    (tmp_path / "bad.jpg").write_text("not a picture")
    code, _, err = call("index", "bad", tmp_path / "bad.jpg")
    assert code == 1
    assert "1 failed" in err
    Image.new("RGB", (50, 50)).save(tmp_path / "good.png")
    code, _, err = call("search", "bad", tmp_path / "good.png")
    assert code == 1
    assert err == "Error: the collection 'bad' is empty: add images with `penultimate index bad PATH...`\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["index", "../x", "."], "'../x' cannot be the name of a collection"),
        (["search", "../x", "{photo}"], "'../x' cannot be the name of a collection"),
        (["index", "things", "{empty}"], "holds no image"),
        (["index", "things", "{empty}/*.jpg"], "nothing matches"),
        (["search", "cats", "{photo}"], "there is no collection 'cats'; there are: things"),
        (["search", "things", "{empty}/none.jpg"], "no such file: {empty}/none.jpg"),
        (["search", "things", "{text}"], "{text}: not a picture"),
        (["search", "things", "{photo}", "--sheet", "x.pdf"], "not 'x.pdf'"),
        (["index", "things", "{photo}", "--backbone", "nope"], "nope"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    call: Run, photos: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    """On standard error, with the value; nothing on standard output; exit code 1."""
    call("index", "things", photos)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("not a picture")
    places = {"photo": photos / "0-a.png", "empty": tmp_path / "empty", "text": tmp_path / "text.jpg"}
    code, out, err = call(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert sentence.format(**places) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["index", "old"], ["search", "old"]])
def test_another_backbone_s_collection_is_refused(
    call: Run, photos: Path, data: DataFolder, words: list[str]
) -> None:
    """Both fingerprints are in the sentence."""
    with Collection.create(data, "old", fingerprint="e" * 64, dim=1280, backbone="efficientnet_lite0") as old:
        old.add([Item("a", np.ones(1280, np.float32))])
    code, _, err = call(*words, photos / "0-a.png")
    assert code == 1
    assert "eeeeeeeeeeee" in err
    assert "cannot be compared" in err


def test_a_full_disk_is_one_sentence(
    call: Run, photos: Path, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was added before stays; the sentence says to run it again."""
    call("index", "things", photos / "0-a.png")
    connect = sqlite.connect

    def connect_to_a_full_disk(path: Path, mode: str) -> object:
        db = connect(path, mode)
        db.execute("PRAGMA max_page_count = 1")
        return db

    monkeypatch.setattr(sqlite, "connect", connect_to_a_full_disk)
    code, _, err = call("index", "things", photos)
    assert code == 1
    assert "the disk is full" in err
    assert "Run the same again to go on" in err
    monkeypatch.undo()
    with Collection.open(data, "things") as collection:
        assert 1 <= len(collection) < len(list(photos.iterdir()))  # one more may fit in the last page


def test_ctrl_c_keeps_what_was_added_and_says_so(call: Run, start_stuck, photos: Path) -> None:
    """Exit code 130 and how to go on; a second run completes the collection."""
    Image.new("RGB", (50, 50), "red").save(photos / "stuck.png")
    job = start_stuck("index", "things", str(photos))
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130
    assert err.count("again to go on") == 1
    assert err.splitlines()[-1].endswith("Run the same again to go on.")
    code, _, err = call("index", "things", photos)
    assert code == 0
    assert "failed" not in err
    assert "holds 7" in err


def test_a_collection_s_own_backbone_is_used(call: Run, photos: Path, data: DataFolder) -> None:
    """Unless another is named, which then cannot be compared."""
    Collection.create(data, "old", fingerprint="e" * 64, dim=1280, backbone="efficientnet_lite1").close()
    code, _, err = call("index", "old", photos)
    assert code == 1
    assert "the backbone 'efficientnet_lite1' has not been exported" in err
    code, _, err = call("index", "old", photos, "--backbone", "efficientnet_lite0")
    assert code == 1
    assert "cannot be compared" in err


def item_of(data: DataFolder, path: Path) -> Item:
    with Collection.open(data, "things") as collection:
        return collection.get(str(path))


def test_items_have_what_was_said_and_seen_of_them(call: Run, photos: Path, data: DataFolder) -> None:
    """Size, format, thumbnail, the label of the folder; a table says more of one, and overrules it."""
    table = photos.parent / "facts.csv"
    table.write_text("path,label,year,note\nphotos/0-a.png,cat,2024,\n")
    call("index", "things", photos, "--label-from-folder", "--metadata", "season=winter", "--metadata", table)
    cat, cup = item_of(data, photos / "0-a.png"), item_of(data, photos / "1-b.jpg")
    seen = {"width": 240, "height": 240, "season": "winter"}
    assert (cat.label, cat.metadata) == ("cat", {**seen, "format": "PNG", "year": 2024})
    assert (cup.label, cup.metadata) == ("photos", {**seen, "format": "JPEG"})
    with Image.open(io.BytesIO(cup.thumbnail)) as thumbnail:  # of 240 pixels a JPEG is read at half
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (120, 120))


def test_a_label_comes_to_images_that_are_there(call: Run, photos: Path, data: DataFolder) -> None:
    """Those count as updated, once; and a changed file keeps what was said of it."""
    call("index", "things", photos)
    assert "6 images: 6 updated; " in call("index", "things", photos, "--label", "x")[2]
    assert "6 images: 6 unchanged; " in call("index", "things", photos, "--label", "x")[2]
    Image.new("RGB", (60, 50), "red").save(photos / "0-a.png")
    call("index", "things", photos)
    changed = item_of(data, photos / "0-a.png")
    assert (changed.label, changed.metadata["width"]) == ("x", 60)


def test_rows_of_a_table_that_match_no_image_are_named(call: Run, photos: Path, tmp_path: Path) -> None:
    """Some of them, and how many; not when only what failed is tried again."""
    table = tmp_path / "facts.csv"
    rows = "".join(f"photos/{name},x\n" for name in ("0-a.png", "typo 1.png", "typo 2.png", "a", "b"))
    table.write_text(f"path,label\n{rows}")
    code, _, err = call("index", "things", photos, "--metadata", table)
    some = ", ".join(str(tmp_path / "photos" / name) for name in ("typo 1.png", "typo 2.png", "a"))
    assert (code, f"4 rows of {table} matched no image that was indexed: {some}, ...\n" in err) == (0, True)
    table.write_text("path,label\nphotos/0-a.png,y\n")
    assert "matched no image" not in call("index", "things", photos, "--metadata", table)[2]


def test_what_is_gone_is_pruned_only_below_the_paths(call: Run, photos: Path, tmp_path: Path) -> None:
    """A file elsewhere stays, as does all below a folder that holds no image: its disk may not be there."""
    elsewhere = tmp_path / "photos-2"
    shutil.copytree(photos, elsewhere)
    call("index", "things", photos, elsewhere)
    for gone in (photos / "0-a.png", *elsewhere.iterdir()):
        gone.unlink()
    code, out, _ = call("index", "things", photos, "--prune", "--json")
    assert (code, json.loads(out)["pruned"], json.loads(out)["items"]) == (0, 1, 11)
    _, out, _ = call("index", "things", photos, elsewhere, "--prune", "--json")
    assert json.loads(out)["pruned"] == 0
    Image.new("RGB", (60, 50), "green").save(elsewhere / "new.jpg")
    _, out, _ = call("index", "things", f"{elsewhere}/*.png", elsewhere, "--prune", "--json")
    assert json.loads(out)["pruned"] == 6


def test_a_file_that_was_renamed_keeps_its_label(call: Run, photos: Path, data: DataFolder) -> None:
    """Pruning does not take the item, which has followed its file, and the summary says so."""
    call("index", "things", photos)
    call("collections", "set", "things", photos / "0-a.png", "--label", "mine")
    (photos / "0-a.png").rename(photos / "renamed.png")
    report = photos.parent / "outcome.csv"
    code, _, err = call("index", "things", photos, "--prune", "--report", report)
    assert (code, ": 5 unchanged, 1 moved; " in err) == (0, True)
    assert item_of(data, photos / "renamed.png").label == "mine"
    (row,) = [row for row in csv.DictReader(report.read_text().splitlines()) if row["status"] == "moved"]
    assert (row["path"], row["moved_from"]) == (str(photos / "renamed.png"), str(photos / "0-a.png"))


@pytest.mark.parametrize("name", ["outcome.csv", "outcome.json"])
def test_what_failed_is_tried_again_by_the_report(call: Run, photos: Path, tmp_path: Path, name: str) -> None:
    """Only that, whatever its name; a report has a line for each image, and says what is there twice."""
    bad = photos / os.fsdecode(b'n\xc3\xa4me, "quoted".png')
    bad.write_text("not a picture")
    shutil.copy(photos / "0-a.png", photos / "copy.png")
    report = tmp_path / name
    code, _, err = call("index", "things", photos, "--report", report)
    assert code == 3
    assert "1 with the content of another" in err
    text = report.read_text()
    rows = list(csv.DictReader(io.StringIO(text))) if name.endswith("csv") else json.loads(text)
    assert len(rows) == 8
    assert [row["path"] for row in rows if row["status"] == "failed"] == [str(bad)]
    assert {row["path"]: row["duplicate_of"] for row in rows if row["duplicate_of"]} == {
        str(photos / "copy.png"): str(photos / "0-a.png")
    }
    shutil.copy(photos / "1-a.png", bad)
    code, out, _ = call("index", "things", "--retry-failed", report, "--report", report, "--json")
    assert (code, json.loads(out)["images"], json.loads(out)["new"]) == (0, 1, 1)
    code, _, err = call("index", "things", "--retry-failed", report)
    assert (code, "nothing failed" in err) == (0, True)
    code, _, err = call("index", "others", "--retry-failed", report)
    assert (code, err) == (1, f"Error: the report {report} is about the collection 'things'\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--report", "x.txt", "{photos}"], "a report is written as .csv or .json, not 'x.txt'"),
        (["--retry-failed", "{text}"], "cannot be read: it is not what --report writes"),
        (["--thumbnails", "64", "{photos}"], "was made with --thumbnails 128"),
        (["--index", "hnsw", "{photos}"], "penultimate collections reindex things --kind hnsw"),
        (["--metadata", "{text}", "{photos}"], "needs a column `path`"),
        (["--metadata", "n=1e400", "{photos}"], "the number 1e400 is too large to be stored"),
        (["--metadata", f"n={2**64}", "{photos}"], f"the number {2**64} does not fit in 64 bits"),
        (["--metadata", "nokey", "{photos}"], "'nokey' is neither KEY=VALUE, such as season=winter, nor a"),
        (
            ["--metadata", "none.csv", "{photos}"],
            "'none.csv' is neither KEY=VALUE, such as season=winter, nor a",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_one_sentence(
    call: Run, photos: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    """Before anything is done."""
    call("index", "things", photos / "0-a.png")
    text = tmp_path / "text.csv"
    text.write_text("a,b\n1,2\n")
    code, _, err = call("index", "things", *(word.format(photos=photos, text=text) for word in arguments))
    assert code == 1
    assert sentence in err
    assert "Error: " in err


@pytest.mark.parametrize(
    "words",
    [[], ["{photos}", "--retry-failed", "x.csv"], ["{photos}", "--label", "a", "--label-from-folder"]],
)
def test_options_that_exclude_each_other_are_wrong_usage(call: Run, photos: Path, words: list[str]) -> None:
    """As is naming nothing."""
    assert call("index", "things", *(word.format(photos=photos) for word in words))[0] == 2
