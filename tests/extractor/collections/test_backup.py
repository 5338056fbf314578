"""Backups: of one moment, whole, while others write; and back from them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item
from extractor.collections import backup as backups
from extractor.collections.backup import backup, restore
from extractor.collections.store import Meta, Store, store_path
from extractor.errors import AlreadyExists, DamagedFile, InvalidArgument, NotFound, Unavailable
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, item, version_1


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    with closing(Store.create(store_path(data, "cats"), Meta(ONE, DIM, "lite0"))) as store:
        store.put([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        yield store


def ids(store: Store) -> list[str]:
    with store.reading() as reader:
        return [entry.id for entry in reader.entries(vectors=True)]


def test_a_backup_becomes_a_collection_again(store: Store, data: DataFolder, tmp_path: Path) -> None:
    """With all that it held, and nothing that was written later; the folder is made."""
    target = tmp_path / "backups" / "monday.sqlite"
    store.put([Item("c", np.ones(DIM, np.float32), label="x", metadata={"y": 1}, thumbnail=b"jpeg")])
    made = backup(store, target)
    assert (made.path, made.items, made.nbytes) == (target, 3, target.stat().st_size)
    assert [file.name for file in target.parent.iterdir()] == ["monday.sqlite"]
    store.remove(["a"])
    assert restore(data, "again", target).items == 3
    with Collection.open(data, "again") as again:
        found = again.get("c")
        assert (found.label, found.metadata, found.thumbnail) == ("x", {"y": 1}, b"jpeg")
        assert [match.id for match in again.search([[1, 0, 0, 0]], 1)[0]] == ["a"]
        again.add([item("d", 1, 0, 0, 0)])
    assert ids(store) == ["b", "c"]


def test_a_copy_has_a_history_of_its_own(store: Store, data: DataFolder, tmp_path: Path) -> None:
    """So that an index that was made of the original is never taken for that of the copy."""
    backup(store, tmp_path / "b.sqlite")
    restore(data, "again", tmp_path / "b.sqlite")
    with closing(Store.find(data, "again")) as again, again.reading() as reader, store.reading() as ours:
        assert reader.generation() != ours.generation()
        assert reader.removed_since(ours.generation()) is None


def test_a_backup_is_of_one_moment_while_others_write(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends although a page is copied at a time, and batches are whole in it."""
    monkeypatch.setattr(backups, "_PAGES", 1)
    store.put(
        Item(f"0-{number}", np.full(DIM, 1, np.float32), thumbnail=bytes(20_000)) for number in range(50)
    )
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        with closing(Store(store.path)) as other:
            for batch in range(1, 10_000):
                other.put(item(f"{batch}-{number}", 1, 0, 0, 0) for number in range(10))
                written.append(batch)
                if stop.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            begin = len(written)
            backup(store, tmp_path / f"{number}.sqlite")
            while len(written) == begin and writer.is_alive():
                stop.wait(0.001)
    finally:
        stop.set()
        writer.join()
    for number in range(3):
        with closing(Store(tmp_path / f"{number}.sqlite")) as copy:
            batches = [id.split("-")[0] for id in ids(copy) if "-" in id and not id.startswith("0-")]
            assert {batches.count(batch) for batch in batches} <= {10}
            assert len(ids(copy)) == 52 + len(batches)


def test_a_backup_replaces_an_older_one_only_when_it_is_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the older one, and nothing beside it."""
    target = tmp_path / "out" / "b.sqlite"
    backup(store, target)
    store.put(Item(str(number), np.ones(DIM, np.float32), thumbnail=bytes(50_000)) for number in range(20))
    connect = backups.sqlite.connect

    def connect_to_a_full_disk(path: Path, mode: str) -> sqlite3.Connection:
        db = connect(path, mode)
        if mode == "rwc":
            db.execute("PRAGMA max_page_count = 20")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(backups.sqlite, "connect", connect_to_a_full_disk)
        with pytest.raises(Unavailable, match=r"no room for the copy at .*full.*nothing was changed"):
            backup(store, target)
    assert [file.name for file in target.parent.iterdir()] == ["b.sqlite"]
    with closing(Store(target)) as old:
        assert ids(old) == ["a", "b"]
    assert backup(store, target).items == 22


def test_a_place_that_cannot_be_a_backup_s_is_refused(store: Store, tmp_path: Path) -> None:
    """A folder, the collection itself, and what cannot be written."""
    for target in (tmp_path, store.path):
        with pytest.raises(InvalidArgument, match="cannot be the backup's file"):
            backup(store, target)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match=r"cannot write .*/file/b\.sqlite: .*nothing was changed"):
        backup(store, tmp_path / "file" / "b.sqlite")
    assert ids(store) == ["a", "b"]


def test_a_file_that_is_no_backup_is_not_replaced(store: Store, tmp_path: Path) -> None:
    """Such as a photo; not another program's database either."""
    photo, other = tmp_path / "photo.png", tmp_path / "other.sqlite"
    photo.write_bytes(b"a photo" * 100)
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE t (x)")
    for target in (photo, other):
        before = target.read_bytes()
        with pytest.raises(InvalidArgument, match="is there and no backup, so it is not replaced"):
            backup(store, target)
        assert target.read_bytes() == before


def test_nothing_is_restored_over_a_collection(store: Store, data: DataFolder, tmp_path: Path) -> None:
    """Nor from nothing, nor from what is no backup or a damaged one."""
    target = tmp_path / "b.sqlite"
    backup(store, target)
    with pytest.raises(AlreadyExists, match="'cats' already: restore under another name"):
        restore(data, "cats", target)
    with pytest.raises(NotFound, match="no backup at"):
        restore(data, "new", tmp_path / "missing")
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedFile, match=r"/text is no backup, or a damaged one: name another$"):
        restore(data, "new", tmp_path / "text")
    (tmp_path / "short").write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    with pytest.raises(DamagedFile, match=r"/short is no backup, or a damaged one: name another$"):
        restore(data, "new", tmp_path / "short")
    content = bytearray(target.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 32768] = bytes(32768)
    target.write_bytes(content)
    with pytest.raises(DamagedFile):
        restore(data, "new", target)
    assert not store_path(data, "new").exists()


def test_restoring_leaves_the_backup_as_it_is(data: DataFolder, tmp_path: Path) -> None:
    """Also one of the first release, of which only the copy is brought to this one's form."""
    old = tmp_path / "backups" / "old.sqlite"
    version_1(old)
    before = old.read_bytes()
    assert restore(data, "again", old).items == 2
    assert old.read_bytes() == before
    assert [file.name for file in old.parent.iterdir()] == ["old.sqlite"]
    with Collection.open(data, "again") as again:
        assert [match.id for match in again.search([[0, 1, 0, 0]])[0]] == ["b", "a"]
