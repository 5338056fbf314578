"""What a search sees: every acknowledged write, one moment, and nothing that a filter leaves out."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from extractor.collections import Collection, Filter, Item
from extractor.collections.store import Store
from extractor.errors import InvalidArgument
from extractor.indexes.exact import ExactIndex
from extractor.results import Vector
from extractor.settings import DataFolder
from tests.extractor.collections.making import ids, item, make

WIDE = 32


def vectors(count: int, seed: int = 0) -> Vector:
    """Vectors that lie close together, as those of photos do."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, WIDE)) + 2 * rng.standard_normal(WIDE)).astype(np.float32)


def fill(collection: Collection, rows: Vector) -> None:
    """Items by the numbers of their rows."""
    collection.add(
        Item(f"{number:06}", row, label=f"group {number % 3}", metadata={"rank": number})
        for number, row in enumerate(rows)
    )


def found(collection: Collection, queries: Vector, k: int, **options: object) -> list[list[int]]:
    return [[int(match.id) for match in matches] for matches in collection.search(queries, k, **options)]  # type: ignore[arg-type]


def judged(rows: Vector, chosen: list[int], queries: Vector, k: int) -> list[list[int]]:
    """What the exact index finds among some rows."""
    judge = ExactIndex(WIDE)
    judge.add(rows[chosen])
    return [[chosen[row] for row in hits.rows[:k]] for hits in judge.search(queries, k)]


@pytest.fixture(params=["tail", "segment", "both"])
def filled(request: pytest.FixtureRequest, data: DataFolder) -> Iterator[tuple[Collection, Vector]]:
    """6,000 items, in the tail of the index, in a segment of it, or parted between them."""
    rows = vectors(6000)
    with make(data, dim=WIDE) as collection:
        fill(collection, rows[:4000] if request.param == "both" else rows)
        if request.param != "tail":
            collection.reindex()
        fill(collection, rows) if request.param == "both" else None
        yield collection, rows


def test_a_filter_is_a_choice_before_the_search_not_after_it(filled: tuple[Collection, Vector]) -> None:
    """The k best of those it means, also when they are few and far from the query; or all but a few."""
    collection, rows = filled
    queries = vectors(5, seed=1)
    for where, chosen in {
        "rank < 7": range(7),
        "rank >= 20": range(20, 6000),
        "label = 'group 1'": range(1, 6000, 3),
        "label = 'group 1' and rank > 5990": range(5992, 6000, 3),
    }.items():
        for k in (1, 10):
            assert found(collection, queries, k, where=Filter.parse(where)) == judged(
                rows, list(chosen), queries, k
            )


def test_a_filter_that_nothing_meets_finds_nothing(filled: tuple[Collection, Vector]) -> None:
    """An empty list for each query."""
    assert found(filled[0], vectors(2), 3, where=Filter.parse("label = 'dog'")) == [[], []]


def test_what_is_less_alike_is_left_out(filled: tuple[Collection, Vector]) -> None:
    """Whatever is over the score stays, in its order."""
    collection, _ = filled
    (every,) = collection.search(vectors(1, seed=2), 20)
    (good,) = collection.search(vectors(1, seed=2), 20, min_score=every[4].score)
    assert good == every[:5]
    assert collection.search(vectors(1), 5, min_score=1.1) == [[]]


def test_changed_metadata_shows_in_the_next_filtered_search(data: DataFolder) -> None:
    """Although no vector was written."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        cats = Filter.parse("label = 'cat'")
        assert collection.search([[1, 0, 0, 0]], where=cats) == [[]]
        collection.set(["b"], label="cat")
        assert [match.id for match in collection.search([[1, 0, 0, 0]], where=cats)[0]] == ["b"]


def test_an_add_that_must_not_replace_is_refused_by_id(data: DataFolder) -> None:
    """The others of its batch are added."""
    with make(data) as collection:
        collection.add([item("a", 1, 0, 0, 0)])
        assert collection.add([item("a", 0, 1, 0, 0), item("b", 0, 1, 0, 0)], replace=False) == ["a"]
        assert ids(collection, 1, 0, 0, 0) == ["a", "b"]


@pytest.mark.parametrize("kind", ["exact", "exact-fp16", "ivf", "hnsw"])
def test_every_kind_finds_the_same_after_adds_replacements_and_deletes(data: DataFolder, kind: str) -> None:
    """The judge is asked for the ten best of what is there; approximate kinds find nearly all of them."""
    rows = vectors(12_000)
    with make(data, dim=WIDE) as collection:
        fill(collection, vectors(11_500, seed=3))
        collection.reindex({"kind": kind})
        fill(collection, rows[:11_000:5])  # ids 0 to 2,199 get new vectors
        collection.delete(f"{number:06}" for number in range(2200, 11_500, 2))
        assert collection.info().index.kind == kind
        left = np.concatenate([rows[:11_000:5], vectors(11_500, seed=3)[2201::2]])
        names = [*range(2200), *range(2201, 11_500, 2)]
        queries = left[::97]
        judge = ExactIndex(WIDE)
        judge.add(left)
        want = [{names[row] for row in hits.rows[:10]} for hits in judge.search(queries, 10)]
        got = found(collection, queries, 10)
    shares = [len(one & set(other)) / 10 for one, other in zip(want, got, strict=True)]
    assert np.mean(shares) == 1.0 if kind.startswith("exact") else np.mean(shares) > 0.97
    assert all(set(answer) <= set(names) for answer in got)


def test_a_hundred_thousand_equal_items_are_ordered_by_id(data: DataFolder) -> None:
    """None is left out by chance, and none that is gone is found."""
    rows = np.ones((100_000, 4), np.float32)
    with make(data) as collection:
        collection.add(Item(f"{number:06}", row) for number, row in enumerate(rows[::-1]))
        collection.add([item("other", -1, 0, 0, 0)])
        assert ids(collection, 1, 1, 1, 1, k=3) == ["000000", "000001", "000002"]
        collection.delete(["000001"])
        assert ids(collection, 1, 1, 1, 1, k=3) == ["000000", "000002", "000003"]


# --- at the same time ------------------------------------------------------


@contextmanager
def pinned(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """A search waits, having begun, until the second event is set; the first says that it waits."""
    from extractor.collections import collection as module

    search, begun, go_on = module.search, threading.Event(), threading.Event()

    def waiting(*given: object) -> object:
        begun.set()
        assert go_on.wait(30)
        return search(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "search", waiting)
        yield begun, go_on


def test_a_search_is_of_the_moment_it_began(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that are added, replaced and deleted while it computes do not change it; nobody waits."""
    with make(data) as collection, ThreadPoolExecutor(1) as other:
        collection.add([item("a", 1, 0, 0, 0), item("b", 0, 1, 0, 0)])
        with pinned(collection, monkeypatch) as (begun, go_on):
            answer = other.submit(ids, collection, 1, 0, 0, 0)
            assert begun.wait(30)
            collection.delete(["a"])
            collection.add([item("b", -1, 0, 0, 0), item("c", 1, 0, 0, 0)])
            collection.reindex()
            go_on.set()
            assert answer.result(30) == ["a", "b"]
        assert ids(collection, 1, 0, 0, 0) == ["c", "b"]


def test_a_search_waits_for_no_writer(data: DataFolder) -> None:
    """Also not for one of its own process in the middle of a commit."""
    with make(data) as collection, ThreadPoolExecutor(1) as other:
        collection.add([item("a", 1, 0, 0, 0)])
        writing, done = threading.Event(), threading.Event()

        def slowly(store: Store) -> None:
            with store._database.writing():
                writing.set()
                assert done.wait(30)

        commit = other.submit(slowly, collection._store)
        assert writing.wait(30)
        assert ids(collection, 1, 0, 0, 0) == ["a"]
        done.set()
        commit.result(30)


def run_all(*jobs: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(jobs)) as threads:
        for job in [threads.submit(job) for job in jobs]:
            job.result(120)


def test_every_acknowledged_write_is_in_the_next_search(data: DataFolder) -> None:
    """Of several threads that add, delete and search at once, while the index is built anew."""
    rows, rounds = vectors(3 * 40), 40
    stop = threading.Event()
    with make(data, dim=WIDE) as collection:
        fill(collection, vectors(2000, seed=5))

        def write(writer: int) -> None:
            for number in range(writer * rounds, (writer + 1) * rounds):
                name = f"{10_000 + number}"
                collection.add([Item(name, rows[number])])
                assert name in [match.id for match in collection.search(rows[[number]], 1)[0]]
                if number % 2:
                    collection.delete([name])
                    assert name not in [match.id for match in collection.search(rows[[number]], 3)[0]]

        def rebuild() -> None:
            while not stop.is_set():
                collection.reindex()

        with ThreadPoolExecutor(1) as builder:
            building = builder.submit(rebuild)
            try:
                run_all(*[lambda writer=writer: write(writer) for writer in range(3)])  # type: ignore[misc]
            finally:
                stop.set()
            building.result(60)
        assert len(collection) == 2000 + 3 * rounds // 2
        assert len(collection.search(rows[:1], 10_000)[0]) == len(collection)


WRITER = """
import sys, numpy as np
from pathlib import Path
from extractor.collections import Collection, Item
from extractor.settings import DataFolder
with Collection.open(DataFolder(Path(sys.argv[1])), "cats") as collection:
    for line in sys.stdin:
        number = int(line)
        collection.add([Item(str(number), np.eye(4, dtype=np.float32)[number % 4] + number * 1e-3)])
        if number >= 3:
            collection.delete([str(number - 3)])
        print("written", flush=True)
"""


def test_another_process_s_acknowledged_writes_are_in_the_next_search(data: DataFolder) -> None:
    """Each as soon as that process says so; also when the index is built anew here in between."""
    with make(data) as collection:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdin
        assert writer.stdout
        for number in range(40):
            print(number, file=writer.stdin, flush=True)
            assert writer.stdout.readline() == "written\n"
            there = {str(other) for other in range(max(0, number - 2), number + 1)}
            assert set(ids(collection, 1, 1, 1, 1)) == there
            if number % 7 == 6:
                collection.reindex()
        writer.stdin.close()
        assert writer.wait(30) == 0
        writer.stdout.close()


def test_settings_that_mean_nothing_are_refused(data: DataFolder) -> None:
    """With what there is; the old ones stay."""
    with make(data) as collection:
        for settings in ({"kind": "fast"}, {"speed": 1}, {"latency_ms": "quick"}, {"memory": -1}):
            with pytest.raises(InvalidArgument):
                collection.reindex(settings)
        assert collection.info().settings == {}
