"""`penultimate index` and `penultimate search`, from the arguments to the exit code."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from extractor.cli.main import penultimate as commands
from extractor.cli.main import run
from extractor.collections import Collection, sqlite
from extractor.settings import DataFolder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path, exported_data: DataFolder) -> DataFolder:
    """A data folder with the real backbone and nothing else."""
    folder = DataFolder(tmp_path / "data")
    folder.root.mkdir()
    folder.backbones.symlink_to(exported_data.backbones)
    return folder


@pytest.fixture
def call(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run(commands, [*map(str, arguments), "--data", str(data.root)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A cat, a cup and an astronaut, each as PNG and as JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, show in enumerate((skimage.data.chelsea, skimage.data.coffee, skimage.data.astronaut)):
        picture = Image.fromarray(show()).resize((240, 240))
        picture.save(folder / f"{number}-a.png")
        picture.save(folder / f"{number}-b.jpg", quality=90)
    return folder


def test_index_then_search(call: Run, photos: Path) -> None:
    """A picture finds itself first and its JPEG copy next."""
    code, out, err = call("index", "things", photos)
    assert (code, out) == (0, "")
    assert "6 images: 6 new, 0 updated, 0 unchanged, 0 failed" in err
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


def test_more_neighbours_than_items(call: Run, photos: Path) -> None:
    """All there are, as JSON, best first."""
    call("index", "things", photos)
    _, out, _ = call("search", "things", photos / "2-b.jpg", "-k", 100, "--json")
    found = json.loads(out)
    assert (found["collection"], found["query"]) == ("things", str(photos / "2-b.jpg"))
    assert [match["rank"] for match in found["matches"]] == [1, 2, 3, 4, 5, 6]
    scores = [match["score"] for match in found["matches"]]
    assert scores == sorted(scores, reverse=True)


def test_a_sheet_is_written_on_request(call: Run, photos: Path, tmp_path: Path) -> None:
    """In a folder that is made for it, if need be."""
    call("index", "things", photos)
    sheet = tmp_path / "out" / "sheet.png"
    code, _, err = call("search", "things", photos / "0-a.png", "-k", 3, "--sheet", sheet)
    assert (code, err) == (0, f"wrote {sheet}\n")
    with Image.open(sheet) as image:
        assert image.width > 4 * 150


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


def test_k_under_one_is_wrong_usage(call: Run, photos: Path) -> None:
    """Exit code 2, as for any option that makes no sense."""
    code, _, err = call("search", "things", photos / "0-a.png", "-k", 0)
    assert code == 2
    assert "0 is not in the range" in err


@pytest.mark.parametrize("words", [["index", "old"], ["search", "old"]])
def test_another_backbone_s_collection_is_refused(
    call: Run, photos: Path, data: DataFolder, words: list[str]
) -> None:
    """Both fingerprints are in the sentence."""
    with Collection.create(data, "old", fingerprint="e" * 64, dim=1280, backbone="efficientnet_lite0") as old:
        from extractor.collections import Item

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
    assert "Run the same again to go on." in err
    code, _, err = call("index", "things", photos)
    assert code == 0
    assert "0 failed" in err
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


def test_a_read_only_data_folder_can_be_searched(penultimate, photos: Path, data: DataFolder) -> None:
    """And adding to it is refused in one sentence, with nothing half done."""
    assert penultimate("index", "things", str(photos)).returncode == 0
    folder = data.collections / "things"
    (folder / "items.sqlite").chmod(0o400)
    folder.chmod(0o500)
    done = penultimate("search", "things", str(photos / "1-a.png"), "-k", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{photos / '1-b.jpg'}\n")
    Image.new("RGB", (50, 50), "red").save(photos / "new.png")
    done = penultimate("index", "things", str(photos))
    assert done.returncode == 1
    assert "Error: the collection 'things' cannot be written here" in done.stderr
    assert f"make the folder {folder} writable" in done.stderr
    folder.chmod(0o700)
