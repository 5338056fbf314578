"""The index on disk: loaded when it fits, made again and said so when it does not."""

import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item, compaction, snapshots, upkeep
from extractor.collections.store import Store
from extractor.collections.verify import verify
from extractor.results import Vector
from extractor.settings import DataFolder
from tests.extractor.collections.making import ONE, store_file

DIM = 16
COUNT = 600


def vectors(seed: int = 0) -> Vector:
    return np.random.default_rng(seed).standard_normal((COUNT, DIM)).astype(np.float32)


def open_here(data: DataFolder) -> Collection:
    return Collection.open_or_create(data, "cats", fingerprint=ONE, dim=DIM, backbone="lite0")


def fill(collection: Collection, seed: int = 0, begin: int = 0) -> None:
    collection.add(Item(f"{begin + number}", row) for number, row in enumerate(vectors(seed)))


def answers(collection: Collection) -> list[list[str]]:
    return [[match.id for match in matches] for matches in collection.search(vectors()[::50], 5)]


def folder(data: DataFolder) -> Path:
    return data.collections / "cats" / "index"


@pytest.fixture
def saved(data: DataFolder) -> list[list[str]]:
    """A collection whose index is saved, with two items deleted since; what it answers."""
    with open_here(data) as collection:
        fill(collection)
        collection.reindex()
        collection.delete(["0", "50"])
        collection.add([Item("0", vectors()[100])])
        return answers(collection)


@pytest.fixture
def read_items(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items were read from the store for the index."""
    read: list[int] = []
    append = snapshots.Snapshot.append

    def counted(snapshot: snapshots.Snapshot, numbers: list[int], units: Vector) -> snapshots.Snapshot:
        read.append(len(numbers))
        return append(snapshot, numbers, units)

    monkeypatch.setattr(snapshots.Snapshot, "append", counted)
    return read


def test_a_saved_index_is_loaded_and_read_on_from(
    data: DataFolder, saved: list[list[str]], read_items: list[int]
) -> None:
    """Only what was written since is read from the store; what was deleted since is not found."""
    with open_here(data) as collection:
        assert collection.info().index.segments == 1
        assert answers(collection) == saved
        index = collection.info().index
    assert read_items == [1]
    assert (index.kind, index.recall, index.segments, index.tail, index.deleted) == ("exact", 1.0, 1, 1, 2)


def test_saving_again_leaves_only_what_counts(data: DataFolder, saved: list[list[str]]) -> None:
    """Old segments are removed, and so is what a killed writer left behind."""
    (old,) = [path for path in folder(data).iterdir() if path.is_dir()]
    shutil.copytree(old, folder(data) / "1-2-left")
    with open_here(data) as collection:
        collection.reindex()
        assert answers(collection) == saved
    (new,) = [path for path in folder(data).iterdir() if path.is_dir()]
    assert new != old


def files(data: DataFolder) -> list[Path]:
    return sorted(
        path for path in folder(data).rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = random.Random(file.name).randrange(len(content))
    content[place] ^= 1 << place % 8
    file.write_bytes(content)


def remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("damage", [cut, flip, remove])
def test_a_damaged_index_is_named_and_saved_again_by_who_may_write(
    data: DataFolder, saved: list[list[str]], damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Every file of it in turn; what is not due to be built otherwise is, and the next start says nothing."""
    for number in range(len(files(data))):
        damage(files(data)[number])
        with closing(Store.find(data, "cats")) as store:
            found = verify(store)
        missing_manifest = not (folder(data) / "manifest.json").exists()  # which is no index at all
        assert (bool(found.index), found.sound) == (not missing_manifest, missing_manifest)
        with open_here(data) as collection:
            (collection.reindex if missing_manifest else collection.compact)()
        with closing(Store.find(data, "cats")) as store:
            assert verify(store).sound
        caplog.clear()
        with open_here(data) as collection:
            index = collection.info().index
            assert answers(collection) == saved
        assert (index.segments, index.tail, index.recall) == (1, 0, 1.0)
        assert not caplog.messages


def test_a_damaged_index_is_saved_again_behind_the_searches(
    data: DataFolder, saved: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: a server that stays does not find it damaged at its next start."""
    flip(next(file for file in files(data) if file.name != "manifest.json"))
    monkeypatch.setattr(upkeep, "DELAY", 0.0)
    with open_here(data) as collection:
        assert answers(collection) == saved
        for thread in list(collection._upkeep._threads):
            thread.join()
        assert not collection._saved.damage()
        assert answers(collection) == saved
        assert not collection._upkeep._needed(collection._upkeep._snapshot())


@pytest.mark.parametrize("damage", [cut, empty, flip, remove])
@pytest.mark.parametrize("kind", ["exact", "exact-fp16"])
def test_a_damaged_index_is_made_again_and_said_so(
    data: DataFolder,
    saved: list[list[str]],
    damage: Callable[[Path], None],
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every file of it in turn; answers are the same, and the next start finds a whole one."""
    with open_here(data) as collection:
        collection.reindex({"kind": kind})
    for number in range(len(files(data))):
        file = files(data)[number]
        damage(file)
        caplog.clear()
        with open_here(data) as collection:
            assert answers(collection) == saved
            (line,) = {record.getMessage() for record in caplog.records} or {""}
            if (damage, file.name) != (remove, "manifest.json"):
                assert "the saved index of the collection 'cats' is damaged" in line
                assert "it is made again from the store" in line
            collection.reindex()
        caplog.clear()
        with open_here(data) as collection:
            assert answers(collection) == saved
        assert not caplog.records


def test_an_index_of_a_store_that_was_brought_back_is_not_used(
    data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy of the file put back by hand gives the same numbers to other items."""
    with open_here(data) as collection:
        fill(collection)
    shutil.copy(store_file(data), store_file(data).with_name("backup"))
    with open_here(data) as collection:
        fill(collection, seed=1, begin=COUNT)
        collection.reindex()
    store_file(data).with_name("backup").replace(store_file(data))
    with open_here(data) as collection:
        fill(collection, seed=2, begin=COUNT)
        (matches,) = collection.search(vectors(2)[:1], 1)
        assert (matches[0].id, matches[0].score) == (str(COUNT), 1.0)
    assert "of another state of the store" in caplog.text


def test_an_index_beside_another_collection_s_file_is_not_used(
    data: DataFolder, saved: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers begin anew in every file."""
    aside = folder(data).rename(data.root / "aside")
    shutil.rmtree(data.collections / "cats")
    with open_here(data) as collection:
        fill(collection, seed=9)
    aside.rename(folder(data))
    with open_here(data) as collection:
        (matches,) = collection.search(vectors(9)[:1], 1)
        assert matches[0].score == 1.0
    assert "it was made of another file" in caplog.text


def test_an_index_of_a_later_release_is_made_again(
    data: DataFolder, saved: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """Rather than misread."""
    manifest = folder(data) / "manifest.json"
    text = json.dumps({**json.loads(manifest.read_bytes().partition(b"\n")[2]), "version": 99}).encode()
    manifest.write_bytes(b"%08x\n%s" % (zlib.crc32(text), text))
    with open_here(data) as collection:
        assert answers(collection) == saved
    assert "version 99" in caplog.text


def test_a_segment_of_another_layout_is_made_again(
    data: DataFolder, saved: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """It is whole, its checksums are right, and this release cannot read it."""
    (manifest,) = folder(data).glob("*/segment.json")
    text = manifest.read_text().partition("\n")[2].replace('"numbers"', '"names"')
    manifest.write_text(f"{zlib.crc32(text.encode()):08x}\n{text}")
    with open_here(data) as collection:
        assert answers(collection) == saved
    assert "it is made again from the store" in caplog.text


def test_what_another_process_saves_meanwhile_is_loaded(
    data: DataFolder,
    saved: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The folders that a manifest named can be gone before they are read."""
    from extractor.collections import saved as module

    load, other = module.load, open_here(data)

    def late(path: Path) -> object:
        monkeypatch.setattr(module, "load", load)
        other.reindex()
        return load(path)

    with other, open_here(data) as collection:
        monkeypatch.setattr(module, "load", late)
        assert answers(collection) == saved
    assert not caplog.records


def test_an_index_that_another_process_is_saving_is_left_to_it(
    data: DataFolder, saved: list[list[str]]
) -> None:
    """Nothing waits; the search goes on from memory."""
    before = files(data)
    with open_here(data) as one, open_here(data) as other, one._saved.claimed() as mine:
        assert mine
        other.reindex()
        assert answers(other) == saved
    assert files(data) == before


READER = """
import sys
from pathlib import Path
import numpy as np
from extractor.collections import Collection
from extractor.settings import DataFolder
vectors = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
with Collection.open(DataFolder(Path(sys.argv[1])), "cats") as collection:
    print([[match.id for match in matches] for matches in collection.search(vectors[::50], 5)])
    collection.compact()
    print(collection.info().index.segments)
"""

WITHOUT_ROOT_S_POWERS = """
import ctypes, os, sys
for capability in (1, 2):  # to write and to read whatever the permissions say
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_folder_that_can_only_be_read_is_searched_by_its_index(
    data: DataFolder, saved: list[list[str]]
) -> None:
    """Nothing is written there, and nobody is told to mend it."""
    before, collection = files(data), data.collections / "cats"
    for path in (collection, folder(data)):
        path.chmod(0o500)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_ROOT_S_POWERS, "-c", READER, str(data.root)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        for path in (collection, folder(data)):
            path.chmod(0o700)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{saved}\n1\n"
    assert files(data) == before


def test_what_another_process_has_put_in_place_of_ours_is_saved_again(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two that save in turn never leave a manifest that names what the other has removed."""
    monkeypatch.setattr(snapshots, "BULK", 100)
    monkeypatch.setattr(compaction, "TAIL", 50)
    with open_here(data) as ours, open_here(data) as theirs:
        fill(ours)
        for collection in (ours, theirs):
            answers(collection)  # each builds its own
        ours.compact()
        theirs.compact()
        ours.add(Item(f"more {number}", row) for number, row in enumerate(vectors(1)[:60]))
        ours.compact()
        expected = answers(ours)
    with open_here(data) as collection:
        assert answers(collection) == expected
        assert collection.info().index.segments == 2
    assert not caplog.messages


def test_what_a_killed_process_left_half_saved_is_removed_at_the_next_saving(
    data: DataFolder, saved: list[list[str]]
) -> None:
    """It can be as large as the index, and nobody else would ever look at it."""
    draft = folder(data) / ".1-600-deadbeef-abcd1234"
    draft.mkdir()
    (draft / "units").write_bytes(bytes(1000))
    with open_here(data) as collection:
        collection.reindex()
    assert not draft.exists()
