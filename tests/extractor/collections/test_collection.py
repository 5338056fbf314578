"""Collections: what is added stays, what is deleted goes, and search sees both."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from extractor.collections import Collection, FileStamp, Item, reader
from extractor.collections.generations import Snapshot
from extractor.errors import (
    InvalidArgument,
    NotFound,
    Unavailable,
)
from extractor.results import Vector
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, ids, item, make


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


def test_scalars_of_numpy_are_as_good_as_plain_ones(data: DataFolder) -> None:
    """SQLite would take them for bytes, and FAISS for nothing that it knows."""
    made = Collection.create(data, "np", fingerprint=ONE, dim=np.int64(DIM), backbone="b")  # type: ignore[arg-type]
    stamp = FileStamp("/x", np.int64(5), np.int64(7))  # type: ignore[arg-type]
    with made:
        made.add(Item(str(number), np.eye(DIM)[number % DIM], file=stamp) for number in range(9))
        made.reindex({"kind": "exact-fp16"})
        assert made.get("3").file == FileStamp("/x", 5, 7)
        assert len(made.search(np.eye(DIM), np.int64(3))[0]) == 3  # type: ignore[arg-type]
        assert [entry.id for entry in made.items(after=np.int64(7), limit=np.int64(1))] == ["7"]  # type: ignore[arg-type]
    with Collection.open(data, "np") as again:
        assert (again.dim, len(again)) == (DIM, 9)


def test_an_interrupted_reindex_leaves_how_the_index_is_made(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index of the new kind was built, and none shall be at the next search."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with make(data) as cats:
        cats.reindex({"kind": "exact-fp16"})
        monkeypatch.setattr("extractor.collections.upkeep.Upkeep.rebuild", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cats.reindex({"kind": "hnsw"})
        assert cats.info().settings == {"kind": "exact-fp16"}


def test_one_text_is_no_list_of_ids(data: DataFolder) -> None:
    """Each of its letters would be taken for an id, and those items deleted."""
    with make(data) as cats:
        cats.add([item("1", 1, 0, 0, 0), item("2", 1, 0, 0, 0), item("12", 1, 0, 0, 0)])
        with pytest.raises(InvalidArgument, match="must be a list of texts, not the text '12'"):
            cats.delete("12")
        with pytest.raises(InvalidArgument, match="must be a list of texts"):
            cats.set("12", label="x")
        assert len(cats) == 3


def test_a_closed_collection_says_so_and_holds_nothing(data: DataFolder) -> None:
    """Neither files nor mapped memory, even while somebody still has it in hand."""
    with make(data) as cats:
        cats.add([item("a", 1, 0, 0, 0)])
        cats.reindex()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    opened = [Collection.open(data, "cats") for _ in range(20)]
    for collection in opened:
        assert ids(collection, 1, 0, 0, 0) == ["a"]
        collection.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(Unavailable, match="has been closed here"):
        cats.add([item("b", 1, 0, 0, 0)])
    with pytest.raises(Unavailable, match="has been closed here"):
        cats.search([[1, 0, 0, 0]])


def test_what_is_said_of_the_index_follows_another_process(data: DataFolder) -> None:
    """The reason is that of the settings as they are now."""
    with make(data) as ours, make(data) as theirs:
        theirs.reindex({"kind": "exact-fp16"})
        assert ours.info().index.reason == "exact-fp16: as it was set for this collection"
