"""Building behind the searches: when it is due, that it ends, and that it never costs an answer."""

import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from extractor.collections import Collection, Item, compaction, upkeep
from extractor.collections.choosing import Choosing
from extractor.collections.compaction import Span, due, everything
from extractor.collections.generations import Part, Snapshot
from extractor.collections.store import Generation
from extractor.errors import InvalidArgument, Unavailable
from extractor.indexes import kinds
from extractor.indexes.float16 import Float16Segment
from extractor.indexes.float32 import Float32Segment
from extractor.indexes.kinds import build
from extractor.results import Vector
from extractor.settings import DataFolder
from tests.extractor.collections import making
from tests.extractor.collections.making import ONE

DIM = 4


def units(count: int) -> Vector:
    return np.eye(1, DIM, dtype=np.float32).repeat(count, axis=0)


def part(first: int, count: int) -> Part:
    return Part(Float32Segment(np.arange(first, first + count), units(count)))


def snapshot(*parts: Part, tail: int) -> Snapshot:
    begin = parts[-1].last + 1 if parts else 1
    return Snapshot(Generation(), parts, Snapshot.empty(DIM).tail).append(
        range(begin, begin + tail), units(tail)
    )


def exact(count: int) -> str:
    return "exact"


def test_a_short_tail_is_left_alone() -> None:
    """Nothing is built for a small collection."""
    assert due(snapshot(tail=compaction.TAIL - 1), exact) is None
    assert due(Snapshot.empty(DIM), exact) is None
    assert everything(Snapshot.empty(DIM)) is None


def test_a_long_tail_is_built_together_with_what_is_not_much_larger() -> None:
    """So a large segment is built seldom, and there are never many."""
    tail = compaction.TAIL
    assert due(snapshot(tail=tail), exact) == Span(1, tail)
    large, small = part(1, 20 * tail), part(20 * tail + 1, 3 * tail)
    assert due(snapshot(large, small, tail=tail), exact) == Span(20 * tail + 1, 24 * tail)
    assert due(snapshot(part(1, 3 * tail), tail=tail), exact) == Span(1, 4 * tail)


def test_segments_stay_few_however_long_is_written() -> None:
    """A hundred full tails: each of them is written a few times, not a hundred."""
    now, built = snapshot(tail=0), 0
    for _ in range(100):
        begin = now.parts[-1].last + 1 if now.parts else 1
        now = now.append(range(begin, begin + compaction.TAIL), units(compaction.TAIL))
        span = due(now, exact)
        assert span
        swapped = now.swap(*span, part(span.low, span.high - span.low + 1))
        assert swapped
        now, built = swapped, built + span.high - span.low + 1
    assert len(now.parts) <= 4
    assert built <= 12 * 100 * compaction.TAIL


def test_a_segment_of_many_dead_is_built_without_them() -> None:
    """A quarter of it, and enough to be worth it."""
    first, second = part(1, 8000), part(8001, 8000)
    now = snapshot(first, second, tail=1)
    assert due(now.bury(range(8001, 9999)), exact) is None
    assert due(now.bury(range(8001, 10_001)), exact) == Span(8001, 16_000)
    assert due(snapshot(part(1, 100), tail=0).bury(range(1, 60)), exact) is None


def test_a_kind_changes_once_the_size_is_well_past_its_bound() -> None:
    """Not to and fro with every item around it."""

    def fp16_from(bound: int) -> Callable[[int], str]:
        return lambda count: "exact-fp16" if count >= bound else "exact"

    now = snapshot(part(1, 1000), tail=10)
    assert due(now, fp16_from(1000)) is None
    assert due(now, fp16_from(700)) == Span(1, 1010)


# --- behind the searches ---------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail of 50 is due, at once."""
    monkeypatch.setattr(upkeep, "DELAY", 0.0)
    monkeypatch.setattr(compaction, "TAIL", 50)


@pytest.fixture
def collection(data: DataFolder) -> Iterator[Collection]:
    with Collection.create(data, "cats", fingerprint=ONE, dim=DIM, backbone="b") as made:
        yield made


def add(collection: Collection, begin: int, count: int) -> None:
    rows = np.random.default_rng(begin).standard_normal((count, DIM)).astype(np.float32)
    collection.add(Item(str(begin + number), row) for number, row in enumerate(rows))


def until(true: Callable[[], bool]) -> None:
    """Wait for what a thread does; a minute is long enough for any machine."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("upkeep-")]


def saved(data: DataFolder) -> bool:
    return (data.collections / "cats" / "index" / "manifest.json").exists()


def test_a_long_tail_becomes_a_segment_and_is_saved(
    data: DataFolder, collection: Collection, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Unasked; the kind, the reason and the recall are said in one line; then the thread is gone."""
    caplog.set_level(logging.INFO)
    add(collection, 0, 60)
    before = collection.search(np.ones((1, DIM)), 60)
    until(lambda: saved(data))
    until(lambda: not keepers())
    index = collection.info().index
    assert (index.segments, index.tail, index.recall) == (1, 0, 1.0)
    assert collection.search(np.ones((1, DIM)), 60) == before
    (line,) = [text for text in caplog.messages if "built as" in text]
    assert line.startswith(
        "collection 'cats': exact: 60 vectors take about 1 ms a query; 60 items built as exact in "
    )
    assert line.endswith("recall@10 1.000")


def test_a_command_that_searches_once_does_not_build(
    data: DataFolder, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over before the work begins."""
    monkeypatch.setattr(compaction, "TAIL", 50)
    monkeypatch.setattr(upkeep, "DELAY", 3600.0)
    add(collection, 0, 60)
    collection.search(np.ones((1, DIM)))
    collection.close()
    assert not keepers()
    assert not saved(data)


def test_compacting_is_for_those_who_know_that_they_are_done(
    data: DataFolder, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a long job; what is not due stays."""
    add(collection, 0, 60)
    collection.compact()
    assert not saved(data)
    monkeypatch.setattr(compaction, "TAIL", 50)
    collection.compact()
    assert saved(data)
    assert not keepers()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Building waits between two blocks until the second event; the first says that it does."""
    waiting, go_on = threading.Event(), threading.Event()
    units_of = compaction.Living._units

    def slow(living: compaction.Living, *given: object) -> Vector:
        waiting.set()
        assert go_on.wait(60)
        return units_of(living, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(compaction.Living, "_units", slow)
    monkeypatch.setattr(compaction, "_BLOCK", 10)
    return waiting, go_on


def test_searches_and_writes_go_on_while_a_segment_is_built(
    collection: Collection, soon: None, stuck: tuple[threading.Event, threading.Event]
) -> None:
    """What they do meanwhile is in the segment that comes of it."""
    waiting, go_on = stuck
    add(collection, 0, 60)
    collection.search(np.ones((1, DIM)))
    assert waiting.wait(60)
    collection.delete(["3", "4"])
    add(collection, 60, 5)
    add(collection, 7, 1)
    (matches,) = collection.search(np.ones((1, DIM)), 100)
    assert len(matches) == 63
    go_on.set()
    until(lambda: not keepers())
    assert collection.search(np.ones((1, DIM)), 100) == [matches]
    index = collection.info().index
    assert (index.segments, index.tail, index.deleted) == (1, 6, 3)


def test_closing_stops_what_is_being_built(
    data: DataFolder,
    collection: Collection,
    soon: None,
    stuck: tuple[threading.Event, threading.Event],
) -> None:
    """At the next block; nothing half-built is saved."""
    waiting, go_on = stuck
    add(collection, 0, 60)
    collection.search(np.ones((1, DIM)))
    assert waiting.wait(60)
    closing = threading.Thread(target=collection.close)
    closing.start()
    until(collection._upkeep._stop.is_set)
    go_on.set()
    closing.join(60)
    assert not closing.is_alive()
    assert not keepers()
    assert not saved(data)


def test_what_cannot_be_saved_is_said_once_and_searched_all_the_same(
    collection: Collection, soon: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk; it is tried again after a rest, not at every search."""

    def refused(*_: object) -> None:
        raise InvalidArgument("cannot write index: No space left on device")

    monkeypatch.setattr(collection._saved, "keep", refused)
    add(collection, 0, 60)
    before = collection.search(np.ones((1, DIM)), 60)
    until(lambda: bool(caplog.messages))
    until(lambda: not keepers())
    assert collection.search(np.ones((1, DIM)), 60) == before
    assert not keepers()
    assert collection.info().index.segments == 1
    assert caplog.messages == [
        "the index of the collection 'cats' could not be brought up to date: "
        "cannot write index: No space left on device"
    ]


def test_closing_stops_a_reindex_with_a_sentence(
    collection: Collection, stuck: tuple[threading.Event, threading.Event]
) -> None:
    """Whoever waits for it is told why it did not come about."""
    waiting, go_on = stuck
    add(collection, 0, 60)
    said: list[str] = []

    def reindex() -> None:
        try:
            collection.reindex()
        except Unavailable as error:
            said.append(str(error))

    threads = [threading.Thread(target=reindex), threading.Thread(target=collection.close)]
    threads[0].start()
    assert waiting.wait(60)
    threads[1].start()
    until(collection._upkeep._stop.is_set)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert said == ["the collection 'cats' is being closed: its index is left as it is"]


def test_a_collection_that_nobody_holds_any_more_ends_quietly(
    data: DataFolder, soon: None, stuck: tuple[threading.Event, threading.Event]
) -> None:
    """Its own thread is the last to let go of it, and does not wait for itself."""
    waiting, go_on = stuck
    made = Collection.create(data, "dogs", fingerprint=ONE, dim=DIM, backbone="b")
    add(made, 0, 60)
    made.search(np.ones((1, DIM)))
    assert waiting.wait(60)
    (thread,) = keepers()
    unraisable: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda error: unraisable.append(error.exc_value))
        del made
        gc.collect()
        go_on.set()
        thread.join(60)
    assert not thread.is_alive()
    assert unraisable == []


def test_what_is_written_between_two_looks_does_not_cost_a_building(
    collection: Collection, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due, and what is built, is of one moment."""
    add(collection, 0, 60)
    built, due_ = [], upkeep.due

    def meanwhile(*given: object) -> Span | None:
        found = due_(*given)  # type: ignore[arg-type]
        if not built:
            add(collection, 60, 1)
        return found

    def counted(*given: object) -> object:
        built.append(given[3])
        return build(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "due", meanwhile)
    monkeypatch.setattr(upkeep, "build", counted)
    collection.compact()
    assert built == [60]
    index = collection.info().index
    assert (index.segments, index.tail) == (1, 1)


def test_the_recall_that_is_shown_is_that_of_vectors_which_taught_the_index_nothing(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the index is approximate; a vector that finds itself proves little."""
    add(collection, 0, 200)
    monkeypatch.setattr(Float16Segment, "kind", "ivf")
    monkeypatch.setattr(Float16Segment, "recall", 0.875)
    monkeypatch.setattr(Choosing, "kind", lambda *_: "exact-fp16")
    collection._upkeep._saved.keep = lambda part: part  # type: ignore[method-assign]
    collection.reindex()
    assert collection.info().index.recall == 0.875


def test_deletions_meanwhile_do_not_show_in_the_recall_of_an_exact_kind(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone is not compared."""
    add(collection, 0, 400)
    collection.reindex({"kind": "exact-fp16"})

    def deleting(*given: object) -> object:
        segment = build(*given)  # type: ignore[arg-type]
        collection.delete(str(number) for number in range(0, 400, 2))
        return segment

    monkeypatch.setattr(upkeep, "build", deleting)
    collection.reindex()
    assert collection.info().index.recall == 1.0


LEAVING = """
import sys, threading
from pathlib import Path
import numpy as np
from extractor.collections import Collection, Item, compaction, upkeep
from extractor.settings import DataFolder
upkeep.DELAY, compaction.TAIL, compaction._BLOCK = 0.0, 50, 1
building, units = threading.Event(), compaction.Living._units

def noted(*given):
    building.set()
    return units(*given)

compaction.Living._units = noted
collection = Collection.create(DataFolder(Path(sys.argv[1])), "cats", fingerprint="f", dim=64, backbone="b")
rows = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
collection.add(Item(str(number), row) for number, row in enumerate(rows))
collection.search(rows[:1])
assert building.wait(60)
print("leaving")
"""


def test_a_program_that_ends_without_closing_is_not_held_up(data: DataFolder) -> None:
    """Its exit code is 0, in the middle of building; the next one finds the collection whole."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, str(data.root)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    with Collection.open(data, "cats") as collection:
        assert len(collection.search(np.ones((1, 64)), 10_000)[0]) == len(collection) == 3000


def test_settings_of_another_process_hold_from_the_next_search_on(data: DataFolder) -> None:
    """As of a server, while a command makes the index anew."""
    with making.make(data) as ours, making.make(data) as theirs:
        ours.add([making.item("a", 1, 0, 0, 0)])
        assert making.ids(ours, 1, 0, 0, 0) == ["a"]
        theirs.reindex({"kind": "exact-fp16"})
        assert ours._choosing.kind(1) == "exact"
        assert making.ids(ours, 1, 0, 0, 0) == ["a"]
        assert ours._choosing.kind(1) == "exact-fp16"


def test_the_tail_is_what_a_search_would_compare_one_by_one(collection: Collection) -> None:
    """Before the first search, and after one: what has been written or deleted since counts, unread."""
    add(collection, 0, 20)
    assert (collection.info().index.segments, collection.info().index.tail) == (0, 20)
    collection.reindex()
    add(collection, 20, 30)
    collection.delete(["0", "1", "20"])
    index, count = collection.info().index, collection.info().count
    assert (count, index.segments, index.tail, index.deleted) == (47, 1, 29, 2)
    collection.search(np.ones((1, DIM)))
    searched = collection.info().index
    assert (searched.segments, searched.tail, searched.deleted) == (1, 29, 2)


def test_what_compares_with_all_finds_all_and_what_is_to_come_is_not_known(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approximate kind that is not built yet has no recall that could be told."""
    add(collection, 0, 20)
    assert collection.info().index.recall == 1.0
    collection.search(np.ones((1, DIM)))
    assert collection.info().index.recall == 1.0
    monkeypatch.setattr(kinds, "LEAST_APPROXIMATE", 10)
    collection._store.configure({"kind": "ivf"})
    assert (collection.info().index.kind, collection.info().index.recall) == ("ivf", None)
