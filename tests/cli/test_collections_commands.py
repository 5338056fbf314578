"""`penultimate collections`: each command, from the arguments to the exit code."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from extractor.collections import Collection, compaction
from extractor.collections.store import Store
from extractor.settings import DataFolder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def do(call: Run, photos: Path) -> Run:
    """`do(*words)`: `penultimate collections ...`, with the photos in the collection `things`."""
    call("index", "things", photos, "--label", "thing")
    return lambda *words: call("collections", *words)


def ids(out: str) -> list[str]:
    return [Path(item["id"]).name for item in json.loads(out)]


def test_the_list_says_what_there_is(do: Run, data: DataFolder) -> None:
    """Counts, bytes, fingerprint, kind and recall; a damaged collection is named beside the others."""
    broken = data.collections / "broken" / "items.sqlite"
    broken.parent.mkdir()
    broken.write_bytes(b"no database" * 100)
    code, out, err = do("list")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["things", "6"]
    assert out.splitlines()[1].split()[-2] == "1.000"  # so few are all compared
    assert err.startswith("broken: the collection 'broken' is damaged")
    wrong, things = json.loads(do("list", "--json")[1])
    assert set(wrong) == {"name", "error"}
    assert (things["count"], things["labels"]) == (6, [{"label": "thing", "count": 6}])
    assert things["index"]["kind"] == "exact"


def test_items_are_shown_by_id_path_and_filter(
    do: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is not there is named, with exit code 3, or 1 when nothing is."""
    monkeypatch.chdir(photos)
    code, out, err = do("get", "things", "0-a.png", "nope", "--json", "--vectors")
    assert (code, ids(out)) == (3, ["0-a.png"])
    assert "no item 'nope'" in err
    assert len(json.loads(out)[0]["vector"]) == 1280
    assert do("get", "things", "nope")[0] == 1
    assert ids(do("get", "things", "--filter", "format = 'PNG'", "--json")[1]) == [
        "0-a.png",
        "1-a.png",
        "2-a.png",
    ]
    assert ids(do("get", "things", "--limit", 2, "--json")[1]) == ["0-a.png", "0-b.jpg"]
    assert "label=thing" in do("get", "things", "1-a.png")[1]
    assert do("get", "things", "1-a.png", "--thumbnail", tmp_path / "small.jpg")[0] == 0
    code, _, err = do("get", "things", "1-a.png", "--thumbnail", tmp_path / "small.png")
    assert (code, "ends in .jpg, not 'small.png'" in err, (tmp_path / "small.png").exists()) == (
        1,
        True,
        False,
    )
    with Image.open(tmp_path / "small.jpg") as small:
        assert max(small.size) == 128


def test_labels_and_metadata_are_set_and_taken_away(do: Run, photos: Path, data: DataFolder) -> None:
    """By id or filter; other facts stay, numbers are numbers."""
    do("set", "things", photos / "0-a.png", "--label", "cat", "--metadata", "age=3")
    assert (
        do("set", "things", "--filter", "label = 'cat'", "--metadata", "age=4", "--metadata", "format=null")[
            0
        ]
        == 0
    )
    with Collection.open(data, "things") as collection:
        cat = collection.get(str(photos / "0-a.png"))
        assert (cat.label, cat.metadata) == ("cat", {"width": 240, "height": 240, "age": 4})
    assert "changed 6 items" in do("set", "things", "--filter", "id is not null", "--no-label")[2]
    assert do("set", "things", photos / "0-a.png")[0] == 2


def test_nothing_is_deleted_unless_somebody_says_so(
    do: Run, photos: Path, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal only with --yes; on one it asks."""
    code, _, err = do("delete", "things", photos / "0-a.png")
    assert (code, err.count("\n")) == (1, 1)
    assert "--yes" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert "nothing was changed" in do("drop", "things")[2]
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    assert "deleted 3 items; things holds 3" in do("delete", "things", "--filter", "format = 'PNG'")[2]
    assert "deleted 1 item;" in do("delete", "things", photos / "0-b.jpg", "--yes")[2]
    assert do("drop", "things", "--yes")[0] == 0
    assert not (data.collections / "things").exists()
    assert do("drop", "things", "--yes")[0] == 1


def test_a_misspelt_field_changes_nothing(do: Run, call: Run, data: DataFolder, tmp_path: Path) -> None:
    """Though `!=` would be true of every item; where nothing is changed it is a warning."""
    wrong = ["things", "--filter", "lable != 'cat'"]
    file = tmp_path / "x.parquet"
    for words in (["delete", *wrong, "--yes"], ["set", *wrong, "--label", "x"], ["export", *wrong, file]):
        code, _, err = do(*words)
        assert (code, err.count("\n")) == (1, 1), words
        assert (
            "no item has a field 'lable'; there are: id, label, source, digest, format, height, width" in err
        )
    assert not file.exists()
    code, out, err = do("get", *wrong, "--json")
    assert (code, len(ids(out)), err.startswith("Warning: no item has a field 'lable'")) == (0, 6, True)
    code, _, err = call("search", "things", next(iter(json.loads(out)))["id"], "--filter", "lable = 'x'")
    assert (code, err.startswith("Warning: no item has a field 'lable'")) == (0, True)
    assert "changed 6" in do("set", "things", "--filter", "seen is null", "--metadata", "a.b=3")[2]
    assert (
        'there are: id, label, source, digest, "a.b", format' in do("get", "things", "--filter", "a.b = 3")[2]
    )
    code, out, err = do("get", "things", "--filter", '"a.b" = 3', "--json")
    assert (len(ids(out)), err) == (6, "")


def test_a_new_folder_is_made_and_said(do: Run, call: Run, photos: Path, tmp_path: Path) -> None:
    """It may be mistyped."""
    for number, words in enumerate((["backup", "things"], ["export", "things"])):
        file = tmp_path / f"new-{number}" / "x.parquet"
        assert f"the folder {file.parent} is not there: it is made\n" in do(*words, file)[2]
        assert "is not there" not in do(*words, file)[2]
    report = tmp_path / "reports" / "x.csv"
    assert (
        f"the folder {report.parent} is not there" in call("index", "things", photos, "--report", report)[2]
    )


def test_wrong_usage_says_what_is_missing(do: Run, call: Run, photos: Path) -> None:
    """Ids, or a filter; a label that is empty."""
    assert "name the items: their ids, or --filter" in do("delete", "things")[2]
    assert "and not both" in do("delete", "things", "x", "--filter", "label = 'x'")[2]
    code, _, err = call("index", "things", photos, "--label", "")
    assert (code, "--label is empty; leave it out" in err) == (2, True)


def test_a_damaged_collection_can_be_removed(do: Run, data: DataFolder) -> None:
    """Only when somebody says so, like any other."""
    broken = data.collections / "broken" / "items.sqlite"
    broken.parent.mkdir()
    broken.write_bytes(b"no database" * 100)
    code, _, err = do("drop", "broken")
    assert (code, "'broken' which is damaged, with all that it holds?" in err) == (1, True)
    assert broken.exists()
    assert do("drop", "broken", "--yes")[0] == 0
    assert not broken.parent.exists()


def test_what_is_exported_or_backed_up_comes_back(do: Run, data: DataFolder, tmp_path: Path) -> None:
    """Under another name, with labels; what a filter means, where one is given."""
    assert do("export", "things", tmp_path / "png.parquet", "--filter", "format = 'PNG'")[0] == 0
    assert "3 rows: 3 added" in do("import", "fresh", tmp_path / "png.parquet")[2]
    none = tmp_path / "none.parquet"
    do("export", "things", none, "--filter", "width < 0")
    assert do("import", "empty", none)[::2] == (
        1,
        f"Error: {none} has no rows: no collection is made of it\n",
    )
    assert not (data.collections / "empty").exists()
    kept = "3 rows: 3 refused, since their ids are there\n"
    assert do("import", "fresh", tmp_path / "png.parquet", "--keep")[2] == kept
    assert do("import", "fresh", tmp_path / "png.parquet")[2] == "3 rows: 3 replaced\n"
    assert do("backup", "things", tmp_path / "b.sqlite")[0] == 0
    assert do("restore", "again", tmp_path / "b.sqlite")[0] == 0
    code, _, err = do("restore", "again", tmp_path / "b.sqlite")
    assert (code, "already" in err) == (1, True)
    with Collection.open(data, "things") as one, Collection.open(data, "again") as other:
        for entry in one.items():
            assert (one.get(entry.id).vector == other.get(entry.id).vector).all()
            assert other.get(entry.id).label == "thing"


def test_ctrl_c_says_what_is_true_of_each_command(
    do: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither embeds anything; an import says how many rows are in."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    do("export", "things", file := tmp_path / "a.parquet")
    monkeypatch.setattr("extractor.collections.tables.BLOCK", 4)
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda *a, **k: put(*a, **k) if len(a[1]) == 4 else interrupted())
    code, _, err = do("import", "things", file)
    assert (code, err.splitlines()[-1]) == (
        130,
        f"Interrupted with 4 rows of {file} in the collection: run the same again to go on.",
    )
    monkeypatch.setattr("extractor.collections.upkeep.Upkeep.rebuild", interrupted)
    code, _, err = do("reindex", "things", "--kind", "hnsw")
    assert (code, err) == (130, "Interrupted. The index, and how it is to be made, are as they were.\n")
    assert json.loads(do("list", "--json")[1])[0]["settings"] == {}


def test_a_damaged_vector_is_found_and_mended(do: Run, data: DataFolder) -> None:
    """`verify` names it with exit code 1; `repair` embeds it again."""
    assert do("verify", "things")[0] == 0
    with sqlite3.connect(data.collections / "things" / "items.sqlite") as db:
        db.execute("UPDATE vectors SET vector = zeroblob(5120) WHERE number = 2")
    db.close()
    code, out, err = do("verify", "things")
    assert (code, "1 damaged" in out, "0-b.jpg" in err) == (1, True, True)
    code, _, err = do("repair", "things")
    assert (code, "1 embedded again" in err) == (0, True)
    assert json.loads(do("verify", "things", "--json")[1])["sound"] is True


@pytest.mark.parametrize("mend", ["repair", "index"])
def test_a_damaged_index_is_found_and_mended(
    do: Run, call: Run, photos: Path, data: DataFolder, mend: str
) -> None:
    """Also by `index` where no image is new; searches are served meanwhile."""
    do("reindex", "things")
    file = next((data.collections / "things" / "index").glob("*/units*"))
    file.write_bytes(file.read_bytes()[:-1])
    code, out, err = do("verify", "things")
    assert (code, "repair things" in out, f"damaged: the saved index: the index file {file}" in err) == (
        (1, True, True)
    )
    code, _, err = call("index", "things", photos) if mend == "index" else do("repair", "things")
    assert code == 0
    assert ("the saved index was made anew" in err) == (mend == "repair")
    assert json.loads(do("verify", "things", "--json")[1])["sound"] is True


def test_what_is_imported_or_restored_is_built_and_measured(
    do: Run, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what is indexed: the first search need not wait for it."""
    monkeypatch.setattr(compaction, "TAIL", 6)
    do("export", "things", tmp_path / "all.parquet")
    do("backup", "things", tmp_path / "b.sqlite")
    do("import", "imported", tmp_path / "all.parquet")
    do("restore", "restored", tmp_path / "b.sqlite")
    found = {each["name"]: each["index"] for each in json.loads(do("list", "--json")[1])}
    assert [(found[name]["segments"], found[name]["recall"]) for name in ("imported", "restored")] == [
        (1, 1.0),
        (1, 1.0),
    ]


def test_the_index_is_made_anew_and_stays_of_that_kind(do: Run, call: Run) -> None:
    """With its reason and measured recall; a kind that is none is wrong usage."""
    assert do("reindex", "things", "--kind", "exact-fp16")[1].startswith("exact-fp16: ")
    (things,) = json.loads(do("list", "--json")[1])
    assert (things["settings"], things["index"]["recall"]) == ({"kind": "exact-fp16"}, 1.0)
    assert do("reindex", "things", "--kind", "tree")[0] == 2


def test_every_command_has_an_example_and_one_sentence_for_what_is_not_there(do: Run, tmp_path: Path) -> None:
    """Whatever the command."""
    from extractor.cli.collections import command

    for name in command.list_commands(None):  # type: ignore[arg-type]
        assert "Example" in (command.get_command(None, name).epilog or ""), name  # type: ignore[arg-type,union-attr]
    for words in (["get"], ["verify"], ["repair"], ["reindex"], ["drop"], ["export"], ["backup"]):
        file = [tmp_path / "x.parquet"] if words[0] in ("export", "backup") else []
        code, out, err = do(*words, "cats", *file)
        assert (code, out, err.count("\n")) == (1, "", 1), words
        assert "there is no collection 'cats'; there are: things" in err
