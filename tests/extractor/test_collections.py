"""Collections: what is added stays, what is deleted goes, and search sees both."""

import errno
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from extractor.collections import Collection, Filed, FileStamp, Item, add_files, files, reader, sqlite
from extractor.collections.collection import names
from extractor.collections.generations import Snapshot
from extractor.errors import (
    AlreadyExists,
    DamagedFile,
    FingerprintMismatch,
    InvalidArgument,
    InvalidImage,
    NotFound,
    Unavailable,
)
from extractor.results import ImageLike, Result, Vector
from extractor.settings import DataFolder

ONE, OTHER = "1" * 64, "2" * 64
DIM = 4


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def make(data: DataFolder, name: str = "cats", dim: int = DIM) -> Collection:
    return Collection.open_or_create(data, name, fingerprint=ONE, dim=dim, backbone="lite0")


def item(id: str, *values: float) -> Item:
    return Item(id, np.array(values, np.float32), digest=hashlib.sha256(id.encode()).digest())


def ids(collection: Collection, *query: float, k: int = 10) -> list[str]:
    (matches,) = collection.search([query], k)
    return [match.id for match in matches]


def store_file(data: DataFolder, name: str = "cats") -> Path:
    return data.collections / name / "items.sqlite"


# --- items -----------------------------------------------------------------


def test_an_item_comes_back_as_it_was_given(data: DataFolder) -> None:
    """Plain vector, not normalised; digest; file: also after the collection is opened again."""
    given = Item("a", np.array([3, 0, -4, 1e-9], np.float32), b"d" * 32, FileStamp("/x/a.jpg", 12, 34))
    with make(data) as collection:
        collection.add([given])
    with Collection.open(data, "cats") as collection:
        found = collection.get("a")
    assert found.vector.tolist() == given.vector.tolist()
    assert (found.id, found.digest, found.file) == ("a", given.digest, given.file)


def test_the_last_of_equal_ids_stays(data: DataFolder) -> None:
    """Within one call and over several."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("a", 0, 1, 0, 0)])
        assert collection.get("a").vector.tolist() == [0, 1, 0, 0]
        collection.add([item("a", 0, 0, 1, 0)])
        assert collection.get("a").vector.tolist() == [0, 0, 1, 0]
        assert len(collection) == 1


def test_adds_replacements_and_deletes_show_in_the_next_search(data: DataFolder) -> None:
    """A replaced item is found at its new place only."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        assert ids(collection, 1, 0, 0, 0, k=1) == ["a"]
        collection.add([item("a", 0, 0, 1, 0), item("c", 1, 0.1, 0, 0)])
        assert ids(collection, 1, 0, 0, 0, k=1) == ["c"]
        assert ids(collection, 0, 0, 1, 0, k=1) == ["a"]
        assert collection.delete(["c", "nobody"]) == 1
        assert sorted(ids(collection, 1, 0, 0, 0)) == ["a", "b"]


def test_another_process_s_writes_show_in_the_next_search(data: DataFolder) -> None:
    """Two open collections of one name follow the same file."""
    with make(data) as ours, make(data) as theirs:
        ours.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        assert ids(theirs, 1, 0, 0, 0) == ["a", "b"]
        ours.delete(["a"])
        ours.add([item("c", 1, 0, 0, 0)])
        assert ids(theirs, 1, 0, 0, 0) == ["c", "b"]


def test_an_interrupted_search_leaves_no_half_filled_index(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the index follows the store: the next search sees every item, once."""
    monkeypatch.setattr(reader, "_BLOCK", 1)
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        append = Snapshot.append

        def interrupted(snapshot: Snapshot, numbers: list[int], units: Vector) -> Snapshot:
            if len(snapshot):
                raise KeyboardInterrupt
            return append(snapshot, numbers, units)

        with monkeypatch.context() as patch:
            patch.setattr(Snapshot, "append", interrupted)
            with pytest.raises(KeyboardInterrupt):
                collection.search([[1, 0, 0, 0]])
        assert ids(collection, 1, 0, 0, 0) == ["a", "b"]


def test_equal_scores_are_in_the_order_of_ids(data: DataFolder) -> None:
    """Whichever was added first, and although more tie than are asked for."""
    with make(data) as collection:
        collection.add([item(f"{number:03}", number + 1, 0, 0, 0) for number in reversed(range(200))])
        assert ids(collection, 7, 0, 0, 0, k=3) == ["000", "001", "002"]


def test_distance_is_one_minus_the_score(data: DataFolder) -> None:
    """0 for the same direction, 1 at a right angle, 2 for the opposite."""
    with make(data) as collection:
        collection.add([item("same", 2, 0, 0, 0), item("square", 0, 2, 0, 0), item("opposite", -1, 0, 0, 0)])
        (matches,) = collection.search([[1, 0, 0, 0]], 3)
    assert [(match.id, match.distance) for match in matches] == [
        ("same", 0.0),
        ("square", 1.0),
        ("opposite", 2.0),
    ]


def test_an_empty_collection_finds_nothing(data: DataFolder) -> None:
    """One empty list for each query."""
    with make(data) as collection:
        assert collection.search(np.ones((2, DIM)), 5) == [[], []]


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (1, np.nan, 0, 0), (np.inf, 0, 0, 0)])
def test_a_vector_without_direction_is_no_item(values: tuple[float, ...]) -> None:
    """It is refused by name before it reaches a collection."""
    with pytest.raises(InvalidArgument, match="item 'bad'"):
        item("bad", *values)


@pytest.mark.parametrize("id", ["", "\udcff.jpg"], ids=["empty", "not Unicode"])
def test_an_id_that_cannot_be_stored_is_refused(id: str) -> None:
    """One sentence, no trace of an encoder."""
    with pytest.raises(InvalidArgument, match="id"):
        Item(id, np.ones(DIM, np.float32))


def test_one_bad_item_and_nothing_of_its_batch_is_written(data: DataFolder) -> None:
    """All or none; the message has both widths."""
    with make(data) as collection:
        with pytest.raises(InvalidArgument, match="'b' has 3 values; those of the collection 'cats' have 4"):
            collection.add([item("a", 1, 0, 0, 0), item("b", 1, 0, 0)])
        assert len(collection) == 0


def test_a_missing_item_is_named(data: DataFolder) -> None:
    """Both the collection and the id."""
    with make(data) as collection, pytest.raises(NotFound, match="'cats' has no item 'dog'"):
        collection.get("dog")


@pytest.mark.parametrize(("query", "k"), [([[1, 0, 0, 0]], 0), ([[1, 0]], 1), ([[0, 0, 0, 0]], 1)])
def test_a_search_that_makes_no_sense_is_refused(data: DataFolder, query: list[list[float]], k: int) -> None:
    """Neighbours under one, another width, no direction."""
    with make(data) as collection, pytest.raises(InvalidArgument):
        collection.search(query, k)


class CollectionMachine(RuleBasedStateMachine):
    """Whatever is done to a collection, it equals a plain dict."""

    ids = st.sampled_from("abcdef")
    vectors = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM).filter(any)

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.data = DataFolder(Path(self.folder.name))
        self.collection = make(self.data)
        self.model: dict[str, list[int]] = {}

    @rule(items=st.lists(st.tuples(ids, vectors), max_size=4))
    def add(self, items: list[tuple[str, list[int]]]) -> None:
        self.collection.add(item(id, *values) for id, values in items)
        self.model.update(items)

    @rule(chosen=st.lists(ids, max_size=3))
    def delete(self, chosen: list[str]) -> None:
        assert self.collection.delete(chosen) == len(set(chosen) & set(self.model))
        for id in chosen:
            self.model.pop(id, None)

    @rule(query=vectors, k=st.integers(1, 8))
    def search(self, query: list[int], k: int) -> None:
        def score(values: list[int]) -> float:
            lengths = np.linalg.norm(values) * np.linalg.norm(query)
            return round(float(np.dot(values, query) / lengths), 6) + 0.0

        expected = sorted(
            ((id, score(values)) for id, values in self.model.items()), key=lambda m: (-m[1], m[0])
        )
        (matches,) = self.collection.search([query], k)
        assert [match.id for match in matches] == [id for id, _ in expected[:k]]
        assert [match.score for match in matches] == pytest.approx([s for _, s in expected[:k]], abs=1e-6)

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.data, "cats")

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "model"):
            assert len(self.collection) == len(self.model)
            for id, values in self.model.items():
                assert self.collection.get(id).vector.tolist() == values

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            self.folder.cleanup()


TestAgainstADict = CollectionMachine.TestCase
TestAgainstADict.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


# --- the store -------------------------------------------------------------


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
    with pytest.raises(InvalidArgument, match=r"of version 7, .*reads version 2: use the release"):
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


# --- files -----------------------------------------------------------------


class FakeEmbeds:
    """Embeds a file of digits as these digits; anything else is no image."""

    fingerprint = ONE
    dim = DIM

    def __init__(self) -> None:
        self.remembered: dict[bytes, Result] = {}
        self.asked: list[str] = []

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        for image in images:
            self.asked.append(Path(str(image)).name)
            yield self._result(Path(str(image)))

    def close(self) -> None:
        pass

    def _result(self, path: Path) -> Result:
        try:
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            vector = np.array([int(digit) for digit in content.decode()], np.float32)
        except (OSError, ValueError) as error:
            return Result(None, InvalidImage(f"no image: {error}"), None, False, self.fingerprint)
        known = digest in self.remembered
        self.remembered[digest] = Result(vector, None, digest, known, self.fingerprint)
        return self.remembered[digest]


@pytest.fixture
def source() -> FakeEmbeds:
    return FakeEmbeds()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., list[str]]:
    def write(**contents: str) -> list[str]:
        for name, content in contents.items():
            (tmp_path / name).write_text(content)
        return [str(tmp_path / name) for name in contents]

    return write


def run(data: DataFolder, source: FakeEmbeds, paths: Iterable[str]) -> list[Filed]:
    filed: list[Filed] = []
    with make(data) as collection:
        add_files(collection, source, paths, filed.append)
    return filed


def statuses(filed: list[Filed]) -> dict[str, str]:
    return {Path(file.path).name: file.status for file in filed}


def test_a_second_run_reads_nothing(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Same path, size and time: passed over."""
    paths = photos(a="1000", b="0100")
    assert statuses(run(data, source, paths)) == {"a": "new", "b": "new"}
    source.asked.clear()
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "unchanged"}
    assert source.asked == []


def test_a_changed_file_is_replaced(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """A touched one with the same content is not counted as such, and passed over from then on."""
    paths = photos(a="1000", b="0100")
    run(data, source, paths)
    photos(a="0010")
    for path in paths:
        os.utime(path, ns=(1, 1))
    assert statuses(run(data, source, paths)) == {"a": "updated", "b": "unchanged"}
    with make(data) as collection:
        assert collection.get(paths[0]).vector.tolist() == [0, 0, 1, 0]
        assert len(collection) == 2
    source.asked.clear()
    run(data, source, paths)
    assert source.asked == []


def test_remembered_vectors_are_counted(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Two files of one content are two items, and one was computed."""
    filed = run(data, source, photos(a="1000", copy="1000"))
    assert [(file.status, file.cached) for file in filed] == [("new", False), ("new", True)]


def test_corrupt_images_among_good_ones_fail_alone(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Missing, corrupt, and a vector of zeros: each is named; no good one takes another's vector."""
    paths = [*photos(a="1000", bad="x", zero="0000", b="0100"), str(tmp_path / "missing"), *photos(c="0010")]
    filed = run(data, source, paths)
    assert {Path(file.path).name for file in filed if file.error} == {"bad", "zero", "missing"}
    with make(data) as collection:
        assert [ids(collection, *vector, k=1) for vector in np.eye(4)[:3]] == [
            [paths[0]],
            [paths[3]],
            [paths[5]],
        ]
        assert len(collection) == 3


def test_a_name_that_is_not_unicode_fails_alone(
    data: DataFolder, source: FakeEmbeds, tmp_path: Path, photos: Callable[..., list[str]]
) -> None:
    """Linux allows any bytes in a name."""
    odd = os.fsencode(tmp_path) + b"/\xff.jpg"
    Path(os.fsdecode(odd)).write_text("1000")
    filed = run(data, source, [os.fsdecode(odd), *photos(a="1000")])
    assert [file.status for file in filed] == ["failed", "new"]
    assert "not valid Unicode" in filed[0].error


def test_an_id_is_the_absolute_path(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the same file is one item from whatever folder it is named."""
    (path,) = photos(a="1000")
    run(data, source, [path])
    monkeypatch.chdir(tmp_path)
    assert statuses(run(data, source, ["a"])) == {"a": "unchanged"}


def test_an_interrupted_job_keeps_what_was_embedded(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Ctrl-C in the middle of a batch; the next run does the rest only."""
    paths = photos(a="1000", b="0100", c="0010")

    def interrupted() -> Iterator[str]:
        yield from paths[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, source, interrupted())
    source.asked.clear()
    assert statuses(run(data, source, paths)) == {"a": "unchanged", "b": "unchanged", "c": "new"}
    assert source.asked == ["c"]


def test_files_are_reported_once_they_are_on_disk(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batch by batch, as another reader of the store sees it."""
    monkeypatch.setattr(files, "BATCH_ITEMS", 2)
    monkeypatch.setattr(files, "BATCH_SECONDS", 3600)
    with make(data) as collection, make(data) as reader:
        seen: list[tuple[str, int]] = []
        add_files(
            collection,
            source,
            photos(a="1000", b="0100", c="0010"),
            lambda filed: seen.append((Path(filed.path).name, len(reader))),
        )
    assert seen == [("a", 2), ("b", 2), ("c", 3)]


def test_a_store_that_cannot_be_written_stops_the_job(
    data: DataFolder,
    source: FakeEmbeds,
    photos: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was committed before stays and has been reported; nothing else has."""
    monkeypatch.setattr(files, "BATCH_ITEMS", 1)
    paths = photos(a="1000", b="0100", c="0010")
    filed: list[Filed] = []

    def note(file: Filed) -> None:
        filed.append(file)
        collection._store._database.writer.execute("PRAGMA query_only = ON")

    with make(data) as collection:
        with pytest.raises(Unavailable, match="readonly"):
            add_files(collection, source, paths, note)
        assert statuses(filed) == {"a": "new"}
        assert len(collection) == 1


def test_a_source_that_changes_its_backbone_is_stopped(
    data: DataFolder, source: FakeEmbeds, photos: Callable[..., list[str]]
) -> None:
    """Before the job, and when a service comes back as another in the middle of it."""
    paths = photos(a="1000", b="0100")

    def swapping() -> Iterator[str]:
        yield paths[0]
        source.fingerprint = OTHER
        yield paths[1]

    with pytest.raises(FingerprintMismatch):
        run(data, source, swapping())
    with pytest.raises(FingerprintMismatch):
        run(data, source, paths)
    with make(data) as collection:
        assert len(collection) == 1
