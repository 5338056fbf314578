"""Snapshots: whatever is appended, buried and swapped, each goes on to say what it said when it was made."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from extractor.collections.generations import Part, Snapshot
from extractor.collections.searching import search
from extractor.collections.store import Generation
from extractor.indexes import unit
from extractor.indexes.exact import ExactIndex
from extractor.indexes.float32 import Float32Segment
from extractor.results import Vector

DIM = 3
Model = dict[int, list[int]]


def no_reading(numbers: Any) -> Vector:
    raise AssertionError("these segments hold their vectors")


def contents(snapshot: Snapshot) -> Model:
    """What is alive, by number."""
    found = {}
    for part in (*snapshot.parts, snapshot.tail.part):
        alive = np.delete(np.arange(len(part.segment.numbers)), part.dead)
        units = part.segment.units(alive)
        assert units is not None
        found |= dict(zip(part.segment.numbers[alive].tolist(), units.tolist(), strict=True))
    return found


def expected(model: Model) -> Model:
    return {number: unit([values], DIM)[0].tolist() for number, values in model.items()}


def built(model: Model) -> Part | None:
    """A part as compaction makes it."""
    if not model:
        return None
    numbers = np.array(sorted(model), np.int64)
    return Part(Float32Segment(numbers, unit([model[number] for number in sorted(model)], DIM)))


class SnapshotMachine(RuleBasedStateMachine):
    """Every snapshot that was ever made equals its dict, and finds what the judge finds in that."""

    snapshots = Bundle("snapshots")
    compactions = Bundle("compactions")
    vectors = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM).filter(any)

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Snapshot, Model]] = []
        self.newest: tuple[Snapshot, Model] = (Snapshot.empty(DIM), {})
        self.next = 1

    def _keep(self, snapshot: Snapshot, model: Model) -> Any:
        self.newest = (snapshot, model)
        self.made.append(self.newest)
        return self.newest

    @rule(target=snapshots, values=st.lists(vectors, min_size=1, max_size=5))
    def append(self, values: list[list[int]]) -> Any:
        snapshot, model = self.newest
        numbers = list(range(self.next, self.next + len(values)))
        self.next += len(values) + 1
        return self._keep(
            snapshot.append(numbers, unit(values, DIM)),
            model | dict(zip(numbers, values, strict=True)),
        )

    @rule(numbers=st.lists(st.integers(0, 40), max_size=4))
    def bury(self, numbers: list[int]) -> None:
        snapshot, model = self.newest
        left = {number: values for number, values in model.items() if number not in numbers}
        self._keep(snapshot.bury(numbers), left)

    @rule(earlier=snapshots, values=vectors)
    def append_to_an_earlier_one(self, earlier: tuple[Snapshot, Model], values: list[int]) -> None:
        """As after an error in the middle of following: the others do not see it."""
        snapshot, model = earlier
        self.made.append((snapshot.append([10**6], unit([values], DIM)), {**model, 10**6: values}))

    @rule(target=compactions, parts=st.integers(0, 3), tail=st.booleans())
    def begin_compaction(self, parts: int, tail: bool) -> Any:
        """Builds a part of a span while others write."""
        snapshot, model = self.newest
        taken = snapshot.parts[-parts:] if tail else snapshot.parts[:parts]
        numbers = [number for part in taken for number in part.segment.numbers.tolist()]
        numbers += snapshot.tail.numbers.tolist() if tail else []
        if not numbers:
            return multiple()
        low, high = min(numbers), max(numbers)
        span = {number: values for number, values in model.items() if low <= number <= high}
        return low, high, built(span)

    @rule(target=snapshots, begun=consumes(compactions))
    def end_compaction(self, begun: Any) -> Any:
        """It fits, or another compaction was quicker and nothing changes."""
        snapshot, model = self.newest
        swapped = snapshot.swap(*begun)
        return multiple() if swapped is None else self._keep(swapped, model)

    @rule(query=vectors, k=st.integers(1, 6), among=st.none() | st.sets(st.integers(0, 40)))
    def search(self, query: list[int], k: int, among: set[int] | None) -> None:
        snapshot, model = self.newest
        chosen = sorted(number for number in model if among is None or number in among)
        judge = ExactIndex(DIM)
        judge.add(np.array([model[number] for number in chosen], np.float32).reshape(-1, DIM))
        (want,) = judge.search([query], k)
        allowed = None if among is None else np.array(sorted(among), np.int64)
        (got,) = search(snapshot, unit([query], DIM), k, no_reading, allowed)
        assert got.rows.tolist() == [chosen[row] for row in want.rows]
        assert got.scores.tolist() == want.scores.tolist()

    def teardown(self) -> None:
        for snapshot, model in self.made:
            assert contents(snapshot) == expected(model)
            assert len(snapshot) == len(model)


TestAgainstADict = SnapshotMachine.TestCase
TestAgainstADict.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_snapshot_is_not_touched_by_what_comes_after_it() -> None:
    """A reader may hold it for as long as it likes."""
    first = Snapshot.empty(DIM).append([1, 2], unit([[1, 0, 0], [0, 1, 0]], DIM)).at(Generation(2))
    units = first.tail.units
    later = first.append([3], unit([[0, 0, 1]], DIM)).bury([1])
    assert later.swap(1, 3, built({2: [0, 1, 0], 3: [0, 0, 1]}))
    assert (first.generation, len(first), units.tolist()) == (Generation(2), 2, [[1, 0, 0], [0, 1, 0]])


def test_what_is_buried_while_a_part_is_built_is_dead_in_it() -> None:
    """Neither a deleted item nor the old vector of a replaced one comes back."""
    snapshot = Snapshot.empty(DIM).append([1, 2], unit([[1, 0, 0], [0, 1, 0]], DIM))
    made = built({1: [1, 0, 0], 2: [0, 1, 0]})
    swapped = snapshot.bury([1]).append([3], unit([[1, 0, 0]], DIM)).swap(1, 2, made)
    assert swapped
    assert sorted(contents(swapped)) == [2, 3]
    assert [len(part) for part in swapped.parts] == [1]


def test_a_part_that_lacks_something_or_cuts_another_is_not_taken() -> None:
    """Whatever went wrong in between: no living item is lost."""
    units = unit(np.eye(DIM), DIM)
    snapshot = Snapshot.empty(DIM).append([1, 2, 3], units)
    assert snapshot.swap(1, 3, built({1: [1, 0, 0], 2: [0, 1, 0]})) is None
    assert snapshot.swap(1, 3, None) is None
    swapped = snapshot.swap(1, 3, built({1: [1, 0, 0], 2: [0, 1, 0], 3: [0, 0, 1]}))
    assert swapped
    assert swapped.swap(2, 3, built({2: [0, 1, 0], 3: [0, 0, 1]})) is None


def test_appending_copies_nothing_until_the_buffer_is_full() -> None:
    """A snapshot costs what was added, not what was there."""
    units = unit(np.eye(DIM), DIM)
    snapshot = Snapshot.empty(DIM).append([1, 2, 3], units).append([4, 5, 6], units)
    longer = snapshot.append([7, 8, 9], units)
    assert np.shares_memory(snapshot.append([10], units[:1]).tail.units, longer.tail.units) is False
    assert np.shares_memory(Snapshot.empty(DIM).append([1, 2, 3], units).tail.units, units) is False
    doubled = longer.append([10], units[:1])
    assert np.shares_memory(doubled.tail.units, longer.tail.units)


def test_every_part_is_searched_and_the_best_of_all_come_first() -> None:
    """Ties over parts are all kept, in the order of their numbers."""
    one, other = built({1: [1, 0, 0], 2: [0, 1, 0]}), built({3: [1, 0, 0]})
    assert one
    assert other
    snapshot = Snapshot(Generation(), (one, other), Snapshot.empty(DIM).tail).append(
        [4], unit([[2, 0, 0]], DIM)
    )
    (hits,) = search(snapshot, unit([[1, 0, 0]], DIM), 1, no_reading)
    assert hits.rows.tolist() == [1, 3, 4]
