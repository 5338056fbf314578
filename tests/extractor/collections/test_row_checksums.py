"""Checksums of rows: a flipped bit of an id, label, digest, metadata or file is found and put right."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item, checksums
from extractor.collections.backup import backup, restore
from extractor.collections.item import Entry, FileStamp
from extractor.collections.reader import Reader
from extractor.collections.repair import Mended, Repair, repair
from extractor.collections.store import Meta, Store, store_path
from extractor.collections.verify import verify
from extractor.errors import DamagedFile
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, version_2

ITEMS = [
    Item(
        "cat 1", np.eye(DIM)[0], b"\1" * 32, FileStamp("/x/cat 1", 12, 3400), "cat", {"width": 300}, b"jpeg"
    ),
    Item("cat 3", np.eye(DIM)[1], b"\3" * 32, FileStamp("/x/cat 3", 56, 7800), "Ωmega", {"fine": True}),
    Item("dog", np.eye(DIM)[2]),
]


class Nothing:
    """A backbone that no repair here needs."""

    fingerprint, dim = ONE, DIM

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            raise AssertionError(f"{image} was embedded")
        return iter(())

    def close(self) -> None:
        pass


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    with closing(Store.create(store_path(data, "cats"), Meta(ONE, DIM, "lite0"))) as store:
        store.put(ITEMS)
        yield store


def entries(store: Store) -> list[Entry]:
    with store.reading() as reader:
        return [entry._replace(vector=None) for entry in reader.entries(vectors=True)]


def damage(store: Store, change: str) -> None:
    with store.writing() as db:
        db.execute("UPDATE items SET " + change)


def mended(store: Store, *, drop: bool = False) -> tuple[Repair, list[Mended]]:
    told: list[Mended] = []
    return repair(store, Nothing(), told.append, drop=drop), told


FLIPPED = {
    "id": ("id = 'cau 1' WHERE number = 1", "the id was 'cat 1'"),
    "id, no Unicode any more": ("id = CAST(x'e3' || substr(id, 2) AS TEXT) WHERE number = 1", "the id was"),
    "id, no text any more": ("id = CAST(id AS BLOB) WHERE number = 1", "the id was"),
    "digest": (f"digest = x'{'03' * 31}02' WHERE number = 2", "the digest was"),
    "source": ("source = '/x/cat 9' WHERE number = 1", "the source was '/x/cat 1'"),
    "size": ("size = 13 WHERE number = 1", "the size was 12"),
    "time": ("mtime_ns = mtime_ns + (1 << 40) WHERE number = 1", "the mtime_ns was 3400"),
    "label": ("label = 'bat' WHERE number = 1", "the label was 'cat'"),
    "metadata": ("""metadata = '{"width":700}' WHERE number = 1""", "the metadata was"),
    "metadata, no JSON any more": ("""metadata = '{"width":300]' WHERE number = 1""", "the metadata was"),
    "the checksum": (
        "row_checksum = row_checksum + 1 - 2 * (row_checksum & 1) WHERE number = 1",
        "it was whole",
    ),
}


@pytest.mark.parametrize("name", FLIPPED)
def test_a_flipped_bit_of_a_row_is_found_and_put_right(store: Store, name: str) -> None:
    before, (change, was) = entries(store), FLIPPED[name]
    damage(store, change)
    found = verify(store)
    assert not found.sound
    assert found.faults == 1
    done, told = mended(store)
    assert (done.restored, done.sound, told[0].outcome) == (1, True, "restored")
    assert was in told[0].reason
    assert entries(store) == before
    assert verify(store).sound


def test_a_row_that_is_not_what_was_written_is_never_given_out(store: Store) -> None:
    """However it is read; nor is it changed, which would hide the damage."""
    damage(store, "id = 'cau 1', label = 'bat' WHERE number = 1")
    reads: list[Callable[[Reader], object]] = [
        lambda reader: list(reader.entries()),
        lambda reader: reader.ids([2, 1]),
        lambda reader: reader.get("cau 1"),
    ]
    for read in reads:
        with store.reading() as reader, pytest.raises(checksums.DamagedRow):
            read(reader)
    with pytest.raises(DamagedFile, match=r"item 'cau 1' is not what was written.* repair cats"):
        entries(store)
    with pytest.raises(DamagedFile, match="'cau 1' is not what was written"):
        store.set(["cau 1"], label="dog")
    with store.reading() as reader:
        assert reader.ids([3, 2]) == ["dog", "cat 3"]


def test_a_search_gives_no_item_the_id_of_another(store: Store, data: DataFolder) -> None:
    """One flipped bit makes 'cat 3' of 'cat 1': which is there, and would be the answer."""
    damage_as_on_disk(store, b"cat 1", b"cat 3")
    with Collection.open(data, "cats") as collection, pytest.raises(DamagedFile, match="repair cats"):
        collection.search([[1, 0, 0, 0]], 1)


def damage_as_on_disk(store: Store, old: bytes, new: bytes) -> None:
    """Change an id in the table alone: the index over ids stays as it was."""
    store.close()
    content = store.path.read_bytes()
    row = content.index(old + b"\1" * 32)  # the digest follows the id there
    store.path.write_bytes(content[:row] + new + content[row + len(old) :])


def test_an_id_that_became_another_s_is_put_right(store: Store, data: DataFolder) -> None:
    """Although SQLite can make no index of two equal ids."""
    before = entries(store)
    damage_as_on_disk(store, b"cat 1", b"cat 3")
    with closing(Store.find(data, "cats")) as again:
        assert not verify(again).sound
        done, told = mended(again)
        assert (done.restored, done.sound) == (1, True)
        assert [(it.id, it.outcome) for it in told] == [("cat 3", "restored")]
        assert entries(again) == before
        assert verify(again).sound


def test_what_more_than_a_bit_has_changed_is_named_and_left_or_removed(store: Store) -> None:
    """Its vector is not touched either: who knows whose it is."""
    damage(store, "id = 'cow', label = 'cow' WHERE number = 1")
    done, told = mended(store)
    assert (done.failed, done.sound) == (1, False)
    assert "none of it can be trusted" in told[0].reason
    assert [fault.kind for fault in verify(store).named] == ["row"]
    done, told = mended(store, drop=True)
    assert (done.dropped, done.sound, told[0].outcome) == (1, True, "dropped")
    assert [entry.id for entry in entries(store)] == ["cat 3", "dog"]
    assert verify(store).sound


def test_a_damaged_row_whose_id_is_there_again_takes_no_place(store: Store) -> None:
    """The image was indexed again meanwhile: the new item stays, and the damaged one is named."""
    damage(store, "id = 'cau 1' WHERE number = 1")
    store.put([Item("cat 1", np.eye(DIM)[3])])
    done, told = mended(store)
    assert (done.failed, done.restored) == (1, 0)
    assert "there is another item 'cat 1' by now" in told[0].reason
    assert mended(store, drop=True)[0].sound
    assert [entry.id for entry in entries(store)] == ["cat 3", "dog", "cat 1"]


def test_a_file_of_version_2_gets_checksums(data: DataFolder, tmp_path: Path) -> None:
    """When it is opened to write, or restored; in a folder that is read-only it is read as it is."""
    path = version_2(data, ITEMS)
    before = path.read_bytes()
    with closing(Store(path, writable=False)) as store:
        assert [entry.id for entry in entries(store)] == ["cat 1", "cat 3", "dog"]
        assert verify(store).sound
        backup(store, tmp_path / "old.sqlite")
    assert path.read_bytes() == before
    restore(data, "again", tmp_path / "old.sqlite")
    for name in ("old", "again"):
        with closing(Store.find(data, name)) as store:
            assert verify(store).sound
            damage(store, "label = 'bat' WHERE number = 1")
            assert [fault.kind for fault in verify(store).named] == ["row"]


def test_a_file_of_version_2_with_a_text_that_is_no_unicode_can_be_opened(data: DataFolder) -> None:
    """What was wrong before there were checksums is no reason to lock all else away."""
    path = version_2(data, ITEMS)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE items SET label = CAST(x'e3' AS TEXT) WHERE number = 1")
    with closing(Store(path)) as store:
        with pytest.raises(DamagedFile, match="no Unicode"):
            entries(store)
        with store.reading() as reader:
            assert reader.ids([2, 3]) == ["cat 3", "dog"]
        assert [fault.id for fault in verify(store).named] == ["cat 1"]
        assert mended(store)[0].failed == 1


def test_checksums_tell_values_of_other_types_and_places_apart() -> None:
    row = (1, "a", b"", None, None, None, "b", "{}")
    others = [
        (2, "a", b"", None, None, None, "b", "{}"),
        (1, b"a", b"", None, None, None, "b", "{}"),
        (1, "a", b"", "b", None, None, None, "{}"),
        (1, "a", b"", None, 0, None, "b", "{}"),
        (1, "a", b"", None, 0.0, None, "b", "{}"),
    ]
    assert len({checksums.of_row(each) for each in (row, *others)}) == 6


def test_a_row_too_long_to_try_every_bit_of_is_not_restored() -> None:
    row = (1, "a", b"", None, None, None, "b", "x" * 10_000)
    damaged = (1, "a", b"", None, None, None, "b", "y" + "x" * 9_999)
    assert checksums.restored(damaged, checksums.of_row(row)) is None
    assert checksums.restored(row, checksums.of_row(row)) == row
