"""Collections on disk: made once, refused by name, durable, shared between processes."""

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item, sqlite
from extractor.collections.collection import names
from extractor.errors import (
    AlreadyExists,
    DamagedFile,
    FingerprintMismatch,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, OTHER, ids, item, make, store_file


def test_a_name_that_leaves_the_folder_is_refused(data: DataFolder) -> None:
    """Before anything is made on disk."""
    for attempt in (lambda: make(data, "../x"), lambda: Collection.open(data, "../x")):
        with pytest.raises(InvalidArgument, match=r"'\.\./x' cannot be the name of a collection"):
            attempt()
    assert not data.root.exists()


def test_a_missing_collection_is_answered_with_those_there_are(data: DataFolder) -> None:
    """Or with how to make one, when there are none."""
    with pytest.raises(NotFound, match=r"no collection 'cats'; there are none yet: make one with"):
        Collection.open(data, "cats")
    make(data, "birds").close()
    make(data, "dogs").close()
    with pytest.raises(NotFound, match="no collection 'cats'; there are: birds, dogs"):
        Collection.open(data, "cats")
    assert names(data) == ["birds", "dogs"]


def test_a_collection_is_made_once(data: DataFolder) -> None:
    """`create` refuses a second, `open_or_create` opens the first; no drafts lie about."""
    make(data).close()
    with pytest.raises(AlreadyExists, match="'cats'"):
        Collection.create(data, "cats", fingerprint=ONE, dim=DIM, backbone="lite0")
    make(data).close()
    assert [file.name for file in store_file(data).parent.iterdir()] == ["items.sqlite"]


def test_a_collection_is_made_where_hard_links_are_not(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some mounts refuse them."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    make(data).close()
    with pytest.raises(AlreadyExists, match="'cats'"):
        Collection.create(data, "cats", fingerprint=ONE, dim=DIM, backbone="lite0")


def test_a_place_where_no_collection_can_be_made_is_said(data: DataFolder) -> None:
    """Its path, the reason and the way out."""
    data.root.touch()
    with pytest.raises(InvalidArgument, match=r"cannot write .*/cats: Not a directory; .*--data$"):
        Collection.create(data, "cats", fingerprint=ONE, dim=DIM, backbone="lite0")


@pytest.fixture
def unwritable(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """A collection `cats` that can only be read, as far as SQLite knows; `tests/cli` has a real one."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
    connect = sqlite.connect

    def connect_to_read(path: Path, mode: str) -> sqlite3.Connection:
        if mode != "rw":
            return connect(path, mode)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite, "connect", connect_to_read)
    return data


def test_a_collection_that_can_only_be_read_is_searched(unwritable: DataFolder) -> None:
    """Adding to it is refused in one sentence."""
    with Collection.open(unwritable, "cats") as collection:
        assert ids(collection, 1, 0, 0, 0) == ["a", "b"]
        with pytest.raises(Unavailable, match=r"'cats' cannot be written here .*make the folder .* writable"):
            collection.add([item("c", 1, 0, 0, 0)])


def test_what_is_written_elsewhere_meanwhile_is_never_half_read(unwritable: DataFolder) -> None:
    """Without locks nothing else can be promised; afterwards it is read as it then is."""
    with Collection.open(unwritable, "cats") as collection:
        with sqlite3.connect(store_file(unwritable)) as db:
            db.execute("DELETE FROM items")
        db.close()
        with pytest.raises(Unavailable, match=r"being written by another process.*try again"):
            collection.search([[1, 0, 0, 0]])
    with Collection.open(unwritable, "cats") as collection:
        assert ids(collection, 1, 0, 0, 0) == []


def test_many_threads_make_the_same_collection(data: DataFolder) -> None:
    """One makes it, the others open it, and all of them can write."""

    def work(number: int) -> None:
        with make(data) as collection:
            collection.add([item(str(number), number + 1, 0, 0, 0)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with make(data) as collection:
        assert len(collection) == 8


def test_another_backbone_s_collection_is_refused(data: DataFolder) -> None:
    """Both fingerprints are named, with the backbone to use."""
    make(data).close()
    with pytest.raises(FingerprintMismatch, match=r"'cats' \(lite0\)") as caught:
        Collection.open_or_create(data, "cats", fingerprint=OTHER, dim=DIM, backbone="resnet50")
    assert (caught.value.expected, caught.value.found) == (OTHER, ONE)
    for part in ("111111", "222222", "--backbone lite0"):
        assert part in str(caught.value)


def test_a_newer_store_is_refused(data: DataFolder) -> None:
    """With both versions and the way out, and it is left as it is."""
    make(data).close()
    with sqlite3.connect(store_file(data)) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(InvalidArgument, match=r"of version 7, .*reads version 3: use the release"):
        Collection.open(data, "cats")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database" * 400, b"SQLite format 3\0" + bytes(5000)],
    ids=["empty", "text", "zeros"],
)
def test_a_file_that_is_no_store_is_named(data: DataFolder, content: bytes) -> None:
    """The path and the way out are in the sentence."""
    make(data).close()
    store_file(data).write_bytes(content)
    with pytest.raises(DamagedFile, match=r"items\.sqlite.*index the images again"):
        Collection.open(data, "cats")


def test_another_program_s_database_is_no_collection(data: DataFolder) -> None:
    """A healthy SQLite file is not enough."""
    store_file(data).parent.mkdir(parents=True)
    with sqlite3.connect(store_file(data)) as db:
        db.execute("CREATE TABLE meta (a)")
    db.close()
    with pytest.raises(DamagedFile, match="not a collection's file"):
        Collection.open(data, "cats")


def test_a_store_cut_short_never_answers_with_less(data: DataFolder) -> None:
    """It is damaged, not a smaller collection."""
    with make(data, dim=256) as collection:
        collection.add(Item(str(number), np.full(256, 1, np.float32)) for number in range(200))
    file = store_file(data)
    os.truncate(file, file.stat().st_size // 8192 * 4096)
    with (
        pytest.raises(DamagedFile, match="index the images again"),
        Collection.open(data, "cats") as collection,
    ):
        collection.search(np.ones((1, 256)), 1)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [(b"\0" * 8, "8 bytes instead of 16"), (np.full(DIM, np.nan, "<f4").tobytes(), "another checksum")],
)
def test_a_vector_that_nobody_wrote_is_damage(data: DataFolder, blob: bytes, reason: str) -> None:
    """A search says so, rather than answer from the rest."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
    with sqlite3.connect(store_file(data)) as db:
        db.execute("UPDATE vectors SET vector = ? WHERE number = 2", (blob,))
    db.close()
    with Collection.open(data, "cats") as collection:
        for attempt in (lambda: collection.get("b"), lambda: collection.search([[1, 0, 0, 0]])):
            with pytest.raises(DamagedFile, match=reason):
                attempt()


def test_a_full_disk_loses_only_the_batch_that_did_not_fit(data: DataFolder) -> None:
    """One sentence; nothing half-written; it works again once there is room."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0)])
        db = collection._store._database.writer
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
        large = [item(f"{number}-{'x' * 400}", 0, 1, 0, 0) for number in range(100)]
        with pytest.raises(Unavailable, match=r"the disk is full, so the collection 'cats' .*run the same"):
            collection.add(large)
        assert len(collection) == 1
        assert ids(collection, 0, 1, 0, 0) == ["a"]
        db.execute("PRAGMA max_page_count = 1000000")
        collection.add(large)
        assert len(collection) == 101


def test_a_writer_that_never_ends_is_named(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer waits, then says why it gives up; readers are not held up."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0)])
        other = sqlite3.connect(store_file(data), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process has been writing to the collection 'cats'"):
            collection.add([item("b", 1, 0, 0, 0)])
        assert ids(collection, 1, 0, 0, 0) == ["a"]
        other.close()
        collection.add([item("b", 1, 0, 0, 0)])


def test_two_processes_write_at_once(data: DataFolder) -> None:
    """Both get all of their items in, in many small commits."""
    make(data).close()
    script = """
import sys, numpy as np
from pathlib import Path
from extractor.collections import Collection, Item
from extractor.settings import DataFolder
with Collection.open(DataFolder(Path(sys.argv[1])), "cats") as collection:
    for number in range(60):
        collection.add([Item(f"{sys.argv[2]}-{number}", np.ones(4, np.float32) + number)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(data.root), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with make(data) as collection:
        assert len(collection) == 120
        assert len(ids(collection, 1, 1, 1, 1, k=500)) == 120
