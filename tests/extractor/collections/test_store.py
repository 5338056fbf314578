"""The store: its items, files of older versions, readers that wait for nobody."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractor.collections import checksums, rows, sqlite
from extractor.collections import reader as reading
from extractor.collections.filters import Filter
from extractor.collections.item import KEEP, FileStamp, Item
from extractor.collections.metadata import MAX_BYTES, MAX_DEPTH
from extractor.collections.reader import Generation
from extractor.collections.store import Meta, Store, store_path
from extractor.errors import DamagedFile, InvalidArgument, NotFound, Unavailable
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, item, version_1

FULL = Item(
    "a",
    np.array([1, 2, 3, 4], np.float32),
    b"d" * 32,
    FileStamp("/x/a.jpg", 12, 34),
    "cat",
    {"width": 300, "camera": {"maker": "Ω", "lenses": [1, 2.5, None, True]}},
    b"\xff\xd8jpeg",
)


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    with closing(Store.create(store_path(data, "cats"), Meta(ONE, DIM, "lite0"))) as store:
        yield store


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.path)


def facts(found: Item | None) -> tuple[Any, ...]:
    assert found is not None
    return (
        found.id,
        found.vector.tolist(),
        found.digest,
        found.file,
        found.label,
        found.metadata,
        found.thumbnail,
    )


def numbered(store: Store) -> dict[str, int]:
    with store.reading() as reader:
        return {entry.id: entry.number for entry in reader.entries()}


# --- items -------------------------------------------------------------------


def test_an_item_comes_back_with_all_that_is_kept_of_it(store: Store) -> None:
    """Also after the file was closed; and every way to read it agrees."""
    store.put([FULL, item("plain", 1, 0, 0, 0)])
    with closing(reopened(store)) as store, store.reading() as reader:
        assert facts(reader.get("a")) == facts(FULL)
        plain = reader.get("plain")
        assert plain is not None
        assert (plain.file, plain.label, plain.metadata, plain.thumbnail) == (None, None, {}, b"")
        assert reader.get("nobody") is None
        assert reader.thumbnail("a") == FULL.thumbnail
        assert reader.thumbnail("plain") is None
        assert reader.with_digest(b"d" * 32) == ["a"]
        assert reader.labels() == {None: 1, "cat": 1}
        (first, _) = reader.entries(vectors=True)
        assert (first.id, first.label, first.metadata) == ("a", "cat", FULL.metadata)
        assert first.vector is not None
        assert first.vector.tolist() == FULL.vector.tolist()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([1], "must be a JSON object, not list"),
        ({1: 2}, "the key 1 is no text"),
        ({"a": float("nan")}, "nan is no JSON value"),
        ({"a": [float("inf")]}, "inf is no JSON value"),
        ({"a": 2**63}, "does not fit in 64 bits"),
        ({"a": b"x"}, "is no JSON value"),
        ({"a": "\ud800"}, "surrogates not allowed"),
        ({"a": "x" * MAX_BYTES}, r"has 65,544 bytes; at most 65,536"),
    ],
)
def test_metadata_that_cannot_be_searched_is_refused(metadata: Any, reason: str) -> None:
    """Before it reaches a store, and with the item's name."""
    with pytest.raises(InvalidArgument, match=f"metadata of item 'x'.*{reason}"):
        Item("x", FULL.vector, metadata=metadata)


def test_metadata_is_bounded_in_depth(store: Store) -> None:
    """What is accepted can be searched in."""
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    store.put([Item("deep", FULL.vector, metadata={"a": deep})])
    with store.reading() as reader:
        path = ".".join("a" * MAX_DEPTH)
        assert [entry.id for entry in reader.entries(Filter.parse(f"{path} = 1"))] == ["deep"]
    with pytest.raises(InvalidArgument, match="nested more than 32 levels"):
        Item("x", FULL.vector, metadata={"a": {"a": deep}})


def test_metadata_that_changes_later_does_not_change_the_item() -> None:
    lenses = [1]
    made = Item("x", FULL.vector, metadata={"lenses": lenses})
    lenses.append(2)
    assert made.metadata == {"lenses": [1]}


@pytest.mark.parametrize("label", ["", "x" * 1001, 3, "\ud800"])
def test_a_label_is_a_short_text(label: Any) -> None:
    with pytest.raises(InvalidArgument, match="label"):
        Item("x", FULL.vector, label=label)


def test_a_thumbnail_is_small() -> None:
    with pytest.raises(InvalidArgument, match="thumbnail of item 'x' has 262,145 bytes"):
        Item("x", FULL.vector, thumbnail=bytes(2**18 + 1))


# --- writing -------------------------------------------------------------------


def test_a_replaced_item_gets_a_new_number_and_leaves_nothing_behind(store: Store) -> None:
    """Numbers are never used again, not even the last one."""
    store.put([FULL, item("b", 1, 0, 0, 0)])
    store.put([item("a", 0, 1, 0, 0)])
    assert numbered(store) == {"b": 2, "a": 3}
    store.remove(["a"])
    store.put([item("c", 0, 1, 0, 0)])
    assert numbered(store) == {"b": 2, "c": 4}
    with store.reading() as reader:
        for table, left in (("vectors", [2, 4]), ("thumbnails", [])):
            assert [n for (n,) in reader.db.execute(f"SELECT number FROM {table}")] == left


def test_items_that_are_there_can_be_refused_instead(store: Store) -> None:
    """Of equal ids in one call the first stays; the others are added."""
    store.put([FULL])
    refused = store.put([item("a", 1, 0, 0, 0), item("b", 1, 0, 0, 0), item("b", 0, 1, 0, 0)], replace=False)
    assert refused == ["a", "b"]
    assert store.put([item("c", 1, 0, 0, 0)]) == []
    with store.reading() as reader:
        assert facts(reader.get("a")) == facts(FULL)
        assert reader.vectors([2]).tolist() == [[1, 0, 0, 0]]


def test_labels_and_metadata_are_changed_in_place(store: Store) -> None:
    """By key; None takes away; the number stays, so that no index has to follow."""
    store.put([FULL, item("b", 1, 0, 0, 0)])
    before = numbered(store)
    with store.reading() as reader:
        generation = reader.generation()
    assert store.set(["a", "b", "a", "nobody"], metadata={"width": None, "seen": True}) == 2
    assert store.set(["b"], label="dog") == 1
    assert store.set(["a"], label=None) == 1
    assert store.set(["b"], label=KEEP, metadata={}) == 1
    with store.reading() as reader:
        entries = {entry.id: (entry.label, entry.metadata) for entry in reader.entries()}
        assert reader.generation() == generation
    assert entries == {
        "a": (None, {"camera": FULL.metadata["camera"], "seen": True}),
        "b": ("dog", {"seen": True}),
    }
    assert numbered(store) == before


def test_a_change_that_one_item_cannot_take_changes_none(store: Store) -> None:
    """The sum of old and new metadata is what counts."""
    store.put([item("b", 1, 0, 0, 0), Item("a", FULL.vector, metadata={"x": "x" * 60_000})])
    with pytest.raises(InvalidArgument, match="metadata of item 'a' has 70,"):
        store.set(["b", "a"], label="new", metadata={"y": "y" * 10_000})
    with store.reading() as reader:
        assert reader.labels() == {None: 2}


def test_an_id_that_is_no_unicode_is_refused_in_a_sentence(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="not valid Unicode"):
        store.remove(["\udcff"])


def test_index_settings_are_kept(store: Store) -> None:
    """And seen by others that have the file open."""
    with closing(Store(store.path)) as other:
        store.configure({"kind": "hnsw", "budget": 0.5})
        with other.reading() as reader:
            assert reader.meta().settings == {"kind": "hnsw", "budget": 0.5}
    assert store.meta.settings == {"kind": "hnsw", "budget": 0.5}


# --- reading ---------------------------------------------------------------------


def test_a_reader_sees_one_moment(store: Store) -> None:
    """Whatever is written beside it, and without making the writer wait."""
    store.put([item("a", 1, 0, 0, 0)])
    with store.reading() as reader:
        before = reader.generation()
        store.put([item("b", 1, 0, 0, 0)])
        store.remove(["a"])
        assert [entry.id for entry in reader.entries()] == ["a"]
        assert reader.generation() == before
    assert list(numbered(store)) == ["b"]


def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    """A write that is not yet committed holds nobody up, in this process or another."""
    store.put([item("a", 1, 0, 0, 0)])
    seen: list[dict[str, int]] = []
    with store.writing() as db:
        rows.remove(db, ["a"])
        thread = threading.Thread(target=lambda: seen.append(numbered(store)))
        thread.start()
        thread.join(30)
        assert seen == [{"a": 1}]
    assert numbered(store) == {}


def test_many_readers_at_once_have_a_connection_each(store: Store) -> None:
    store.put([item("a", 1, 0, 0, 0)])
    readers = [store.reading() for _ in range(20)]
    opened = [reader.__enter__() for reader in readers]
    assert len({id(reader.db) for reader in opened}) == 20
    assert [len(reader) for reader in opened] == [1] * 20
    for reader in readers:
        reader.__exit__(None, None, None)


def test_a_closed_store_says_so(store: Store) -> None:
    """Also one that is closed while it is read, which goes on to its end."""
    store.put([item("a", 1, 0, 0, 0)])
    with store.reading() as reader:
        store.close()
        assert len(reader) == 1
    with pytest.raises(Unavailable, match="'cats' has been closed"), store.reading():
        pass


def test_numbers_ids_and_vectors_are_looked_up_together(store: Store) -> None:
    """In the order that was asked for, however many; a number that is not there is damage."""
    store.put([item(str(number), number + 1, 0, 0, 0) for number in range(3000)])
    asked = np.arange(3000, 0, -1)
    with store.reading() as reader:
        assert reader.numbers().tolist() == list(range(1, 3001))
        assert reader.numbers(Filter.parse("id in ('7', '5')")).tolist() == [6, 8]
        assert reader.ids(asked) == [str(number - 1) for number in asked]
        assert reader.vectors(asked)[:, 0].tolist() == asked.tolist()
        assert reader.ids([]) == []
        assert reader.vectors([]).shape == (0, DIM)
        with pytest.raises(DamagedFile, match="number"):
            reader.ids([3001])


def test_entries_are_read_on_from_where_one_stopped(store: Store) -> None:
    store.put([item(id, 1, 0, 0, 0) for id in "abcde"])
    with store.reading() as reader:
        first = list(reader.entries(limit=2))
        rest = list(reader.entries(Filter.parse("id != 'd'"), after=first[-1].number))
    assert [entry.id for entry in first + rest] == ["a", "b", "c", "e"]


def test_a_filter_reads_no_vectors(store: Store) -> None:
    """They have a table of their own, which no plan of a filter or a listing names."""
    store.put([FULL])
    with store.reading() as reader:
        reads: list[str | None] = []
        reader.db.set_authorizer(lambda action, table, *_: reads.append(table) or sqlite3.SQLITE_OK)
        try:
            reader.numbers(Filter.parse("width > 3 and label = 'cat'"))
            list(reader.entries())
        finally:
            reader.db.set_authorizer(None)
    assert "items" in reads
    assert "vectors" not in reads


# --- generations ------------------------------------------------------------------


def test_who_has_read_a_generation_reads_on_from_there(store: Store) -> None:
    store.put([item("a", 1, 0, 0, 0), item("b", 1, 0, 0, 0)])
    with store.reading() as reader:
        then = reader.generation()
    store.put([item("a", 0, 1, 0, 0), item("c", 1, 0, 0, 0)])
    store.remove(["b"])
    with store.reading() as reader:
        assert reader.removed_since(then) == [1, 2]
        assert [block.ids for block in reader.written_since(then)] == [["a", "c"]]
        assert reader.removed_since(reader.generation()) == []
        assert reader.removed_since(Generation()) == []


def test_the_log_of_removals_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is further behind than it reaches is told to begin anew."""
    monkeypatch.setattr(rows, "REMOVALS_KEPT", 10)
    store.put([item(str(number), 1, 0, 0, 0) for number in range(30)])
    with store.reading() as reader:
        begin = reader.generation()
    store.remove(str(number) for number in range(10))
    with store.reading() as reader:
        later = reader.generation()
        assert reader.removed_since(begin) == list(range(1, 11))
    store.remove(["10"])
    with store.reading() as reader:
        assert reader.removed_since(begin) is None
        assert reader.removed_since(later) == [11]
        (kept,) = reader.db.execute("SELECT count(*) FROM removed").fetchone()
    assert kept == 10


def test_another_file_s_generation_is_none_of_ours(store: Store, data: DataFolder) -> None:
    """A collection that was made anew under the same name is told apart, whatever its numbers."""
    store.put([item("a", 1, 0, 0, 0)])
    with store.reading() as reader:
        ours = reader.generation()
    with closing(Store.create(store_path(data, "dogs"), Meta(ONE, DIM, "lite0"))) as other:
        other.put([item("z", 1, 0, 0, 0)])
        with other.reading() as reader:
            theirs = reader.generation()
            assert (theirs.items, theirs.removed) == (ours.items, ours.removed)
            assert theirs != ours
            assert reader.removed_since(ours) is None


# --- files -----------------------------------------------------------------------


def check_version_1(store: Store) -> None:
    with store.reading() as reader:
        assert (store.meta.fingerprint, store.meta.backbone, store.meta.thumbnails) == (ONE, "lite0", 128)
        a, b = reader.get("a"), reader.get("b")
        assert a is not None
        assert b is not None
        assert (a.vector.tolist(), a.digest) == ([1, 0, 0, 0], b"d" * 32)
        assert (a.file, a.label, a.metadata, a.thumbnail) == (FileStamp("/x/a.jpg", 12, 34), None, {}, b"")
        assert b.file is None
        assert (reader.generation().items, reader.generation().removed) == (3, 1)
        assert [block.ids for block in reader.written_since(Generation())] == [["a", "b"]]
        assert reader.numbers(Filter.parse("label is null and width is null")).tolist() == [1, 2]


def test_a_file_of_version_1_is_brought_to_the_present_one(data: DataFolder) -> None:
    """With all that was in it; no number that it gave out is used again."""
    path = store_path(data, "old")
    version_1(path)
    for _ in range(2):
        with closing(Store(path)) as store:
            check_version_1(store)
    with closing(Store(path)) as store:
        store.put([FULL])
        assert numbered(store) == {"b": 2, "a": 4}
        store.set(["b"], label="dog")
        with store.reading() as reader:
            assert reader.labels() == {"cat": 1, "dog": 1}


def test_a_file_of_version_1_is_read_where_it_cannot_be_written(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, to the last byte."""
    path = store_path(data, "old")
    version_1(path)
    before = path.read_bytes()
    connect = sqlite.connect

    def connect_to_read(path: Path, mode: str) -> sqlite3.Connection:
        if mode != "rw":
            return connect(path, mode)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite, "connect", connect_to_read)
    with closing(Store(path)) as store:
        check_version_1(store)
    assert path.read_bytes() == before


def test_a_migration_that_does_not_end_changes_nothing(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of it: the next opening begins again."""
    path = store_path(data, "old")
    version_1(path)
    connect = sqlite.connect

    def connect_to_a_full_disk(path: Path, mode: str) -> sqlite3.Connection:
        db = connect(path, mode)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 1}")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "connect", connect_to_a_full_disk)
        with pytest.raises(Unavailable, match="the disk is full"):
            Store(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(Store(path)) as store:
        check_version_1(store)


def test_two_openings_at_once_migrate_once(data: DataFolder) -> None:
    path = store_path(data, "old")
    version_1(path)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with closing(Store(path)) as store:
                check_version_1(store)
        except BaseException as error:  # noqa: BLE001 - to be shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_file_of_version_4_is_refused(store: Store) -> None:
    """With both versions, and left as it is."""
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA user_version = 4")
        db.commit()
    with pytest.raises(InvalidArgument, match=r"of version 4, .* reads version 3: use the release"):
        Store(store.path)


@pytest.mark.parametrize("dim", [4, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 4096])
def test_a_vector_is_never_split_over_pages_and_wastes_little(data: DataFolder, dim: int) -> None:
    """At most a quarter of the file, for every width of the catalogue's backbones."""
    with closing(Store.create(store_path(data, f"d{dim}"), Meta(ONE, dim, "b"))) as store:
        empty = store.path.stat().st_size
        vectors = np.random.default_rng(0).standard_normal((500, dim), np.float32)
        store.put(Item(str(number), vector) for number, vector in enumerate(vectors))
        with store.reading() as reader:
            (pages, size) = (
                reader.db.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size")
            )
        if dim >= 512:
            assert (pages * size - empty - 2**17) / (500 * 4 * dim) < 4 / 3


def test_a_missing_collection_is_answered_with_those_there_are(data: DataFolder, store: Store) -> None:
    with pytest.raises(NotFound, match="no collection 'dogs'; there are: cats"):
        Store.find(data, "dogs")
    with closing(Store.find(data, "cats")) as found:
        assert found.name == "cats"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE vectors SET vector = zeroblob(8)", "the vector of item 'a' has 8 bytes instead of 16"),
        ("UPDATE vectors SET vector = zeroblob(16)", "the vector of item 'a' .* another checksum"),
        ("UPDATE vectors SET checksum = 0", "the vector of item 'a' .* another checksum"),
        ("DELETE FROM vectors", "item 'a' has no vector"),
    ],
)
def test_a_vector_that_is_not_what_was_written_is_never_given_out(
    store: Store, change: str, reason: str
) -> None:
    """By no way of reading it; the sentence says what mends it."""
    store.put([FULL])
    with store.writing() as db:
        db.execute(change)
    with store.reading() as reader:
        for read in (
            lambda: reader.get("a"),
            lambda: reader.vectors([1]),
            lambda: list(reader.written_since(Generation())),
            lambda: list(reader.entries(vectors=True)),
        ):
            with pytest.raises(DamagedFile, match=f"{reason}.*collections repair cats"):
                read()


def test_metadata_that_is_no_json_is_damage(store: Store) -> None:
    """A filter over it, a listing and a change say so."""
    store.put([FULL])
    with store.writing() as db:
        db.execute("UPDATE items SET metadata = '{'")
    with pytest.raises(DamagedFile, match="repair cats"), store.reading() as reader:
        reader.numbers(Filter.parse("width = 3"))
    with pytest.raises(DamagedFile, match="metadata or file of item 'a'"), store.reading() as reader:
        list(reader.entries())
    with pytest.raises(DamagedFile, match="metadata"):
        store.set(["a"], label="x")


def test_checksums_tell_rows_apart() -> None:
    """Two rows that were exchanged have good bytes under the wrong number."""
    blob = os.urandom(16)
    assert checksums.of_vector(1, blob) != checksums.of_vector(2, blob)


def test_an_iterator_that_is_left_unread_holds_nobody_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its transaction; who reads next sees what was written since."""
    monkeypatch.setattr(reading, "_BLOCK", 1)
    store.put([item("a", 1, 0, 0, 0), item("b", 1, 0, 0, 0)])
    with store.reading() as reader:
        entries, blocks = reader.entries(), reader.written_since(Generation())
        assert (next(entries).id, next(blocks).ids) == ("a", ["a"])
    store.put([item("c", 1, 0, 0, 0)])
    assert list(numbered(store)) == ["a", "b", "c"]
    for rest in (entries, blocks):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            next(rest)


def test_an_error_while_reading_holds_nobody_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its traceback is kept, as a logger or debugger does."""
    monkeypatch.setattr(reading, "_BLOCK", 1)
    store.put([item("a", 1, 0, 0, 0), item("b", 1, 0, 0, 0)])
    with store.writing() as db:
        db.execute("DELETE FROM vectors WHERE number = 1")
    with pytest.raises(DamagedFile) as kept, store.reading() as reader:
        list(reader.entries(vectors=True))
    store.put([item("a", 1, 0, 0, 0)])
    assert list(numbered(store)) == ["b", "a"]
    assert kept.value.__traceback__ is not None
