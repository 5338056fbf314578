"""What every kind of segment does; the plain numpy index is the judge."""

import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from extractor.errors import InvalidArgument
from extractor.indexes import Hits, Rows, unit
from extractor.indexes.exact import ExactIndex
from extractor.indexes.kinds import KINDS, build, effective, load, save
from extractor.indexes.nearest import Mask
from extractor.indexes.segments import Kind, Segment, scored
from extractor.results import Vector

DIM = 8
EXACT = [kind for kind in KINDS if kind.startswith("exact")]
exact_kinds = pytest.mark.parametrize("kind", EXACT)
every_kind = pytest.mark.parametrize("kind", KINDS)


class Blocks:
    """Vectors in blocks that can be gone through again."""

    def __init__(self, numbers: Rows, vectors: Vector, size: int = 1000) -> None:
        self._numbers, self._vectors, self._size = numbers, vectors, size

    def __iter__(self) -> Iterator[tuple[Rows, Vector]]:
        for start in range(0, len(self._numbers), self._size):
            block = slice(start, start + self._size)
            yield self._numbers[block], self._vectors[block]


def vectors(count: int, dim: int = DIM, seed: int = 0) -> Vector:
    """Vectors of many lengths that lie close together, as those of photos do."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((count, dim)) + 2 * rng.standard_normal(dim)
    return (directions * rng.uniform(0.01, 100, (count, 1))).astype(np.float32)


def clustered(count: int, dim: int, seed: int = 0) -> Vector:
    """Vectors around some hundred centres, which differ in how far they spread and how many they have."""
    centres = vectors(max(1, count // 100), dim, seed=99)
    rng = np.random.default_rng(seed)
    chosen = (len(centres) * rng.random(count) ** 1.5).astype(int)
    noise = rng.standard_normal((count, dim)) * rng.uniform(0.1, 0.6, (count, 1))
    return (unit(centres, dim)[chosen] + noise / np.sqrt(dim)).astype(np.float32)


def segment_of(kind: Kind, stored: Vector, numbers: Rows | None = None) -> Segment:
    if numbers is None:
        numbers = np.arange(len(stored), dtype=np.int64)
    return build(kind, stored.shape[1], Blocks(numbers, stored), len(stored))


def search(
    segment: Segment, stored: Vector, queries: Vector, k: int, allowed: Mask | None = None
) -> list[Hits]:
    """What a collection makes of the candidates: scores from the vectors themselves."""
    queries, units = unit(queries, stored.shape[1]), unit(stored, stored.shape[1])
    return [
        scored(query, segment.numbers[places], units[places], k)
        for query, places in zip(queries, segment.candidates(queries, k, allowed), strict=True)
    ]


def judged(stored: Vector, queries: Vector, k: int, allowed: Mask | None = None) -> list[Hits]:
    judge = ExactIndex(stored.shape[1])
    judge.add(stored)
    if allowed is not None:
        judge.remove(np.flatnonzero(~allowed))
    return judge.search(queries, k)


def same(found: Sequence[Hits], expected: Sequence[Hits]) -> None:
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        assert got.rows.tolist() == want.rows.tolist()
        np.testing.assert_allclose(got.scores, want.scores, atol=2e-6)


@every_kind
def test_a_vector_is_its_own_nearest_neighbour_at_any_length(kind: Kind) -> None:
    """A stored vector times 3, or a millionth of it, has the score 1 with itself."""
    stored = vectors(20)
    segment = segment_of(kind, stored)
    for factor in (1, 3, 1e-6):
        hits = search(segment, stored, stored * np.float32(factor), 1)
        assert [int(hit.rows[0]) for hit in hits] == list(range(20))
        assert all(hit.scores[0] == 1.0 for hit in hits)


@every_kind
def test_scores_are_cosines(kind: Kind) -> None:
    """The same direction is 1, a right angle 0, the opposite -1, whatever the lengths."""
    stored = np.array([[5, 0], [0, 0.1], [-70, 0]], np.float32)
    (hits,) = search(segment_of(kind, stored), stored, np.array([[2, 0]], np.float32), 3)
    assert hits.rows.tolist() == [0, 1, 2]
    assert hits.scores.tolist() == [1.0, 0.0, -1.0]


@every_kind
def test_ties_with_the_last_are_all_candidates(kind: Kind) -> None:
    """Equal directions get equal scores, and none of them is left out by chance."""
    stored = vectors(400)
    stored[10:310] = stored[10] * np.linspace(0.5, 20, 300, dtype=np.float32)[:, None]
    segment = segment_of(kind, stored)
    for count in (1, 7):  # alone, and together with others
        for hits in search(segment, stored, np.repeat(stored[[10]], count, axis=0), 5):
            assert hits.rows.tolist() == list(range(10, 310))
            assert set(hits.scores) == {1.0}


@every_kind
def test_an_empty_segment_finds_nothing(kind: Kind) -> None:
    """Each query gets its own empty answer."""
    segment = segment_of(kind, np.empty((0, DIM), np.float32))
    for count in (0, 1, 9):
        found = segment.candidates(unit(vectors(count), DIM), 10)
        assert [len(places) for places in found] == [0] * count


@every_kind
def test_one_vector(kind: Kind) -> None:
    """More neighbours than there are is asked for: the one there is comes back."""
    segment = segment_of(kind, vectors(1), np.array([7]))
    assert [places.tolist() for places in segment.candidates(unit(vectors(2, seed=5), DIM), 10)] == [[0], [0]]
    assert segment.numbers.tolist() == [7]


@every_kind
def test_the_same_vector_twice_is_two_places(kind: Kind) -> None:
    """Vectors are not told apart by their content."""
    stored = np.repeat(vectors(1), 2, axis=0)
    (hits,) = search(segment_of(kind, stored), stored, stored[:1], 2)
    assert hits.rows.tolist() == [0, 1]


@exact_kinds
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.02, 0.0005, 0.0])
@pytest.mark.parametrize("together", [1, 6])
def test_only_what_is_allowed_is_found(kind: Kind, share: float, together: int) -> None:
    """Deleted and filtered places are passed over, be they many or few; the others are all compared."""
    stored = vectors(6000, 32)
    segment = segment_of(kind, stored)
    allowed = np.random.default_rng(1).random(len(stored)) < share
    queries = vectors(together, 32, seed=2)
    same(search(segment, stored, queries, 10, allowed), judged(stored, queries, 10, allowed))


@every_kind
def test_more_neighbours_than_are_allowed(kind: Kind) -> None:
    """All that are allowed come, and nothing else."""
    segment = segment_of(kind, vectors(100))
    allowed = np.zeros(100, bool)
    allowed[[3, 50, 98]] = True
    for places in segment.candidates(unit(vectors(5, seed=1), DIM), 10, allowed):
        assert sorted(places.tolist()) == [3, 50, 98]


@exact_kinds
def test_many_neighbours(kind: Kind) -> None:
    """`k` may be most of what there is."""
    stored, queries = vectors(3000), vectors(5, seed=1)
    segment = segment_of(kind, stored)
    for k in (1000, 2999, 3000, 5000):
        same(search(segment, stored, queries[:1], k), judged(stored, queries[:1], k))
        same(search(segment, stored, queries, k), judged(stored, queries, k))


@every_kind
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf], ids=["zero", "nan", "inf"])
def test_a_vector_without_direction_is_refused(kind: Kind, bad: float) -> None:
    """With its place among those that came with it."""
    batch = vectors(3, seed=1)
    batch[1] = 0
    batch[1, 2] = bad
    with pytest.raises(InvalidArgument, match="vector 1 of 3"):
        segment_of(kind, batch)


@every_kind
@pytest.mark.parametrize("scale", [1e-40, 1e38], ids=["tiny", "huge"])
def test_lengths_at_the_ends_of_float32(kind: Kind, scale: float) -> None:
    """The square of such a number is no float32; the direction is still found."""
    stored = (np.array([[1, 0], [0, 1]]) * scale).astype(np.float32)
    (hits,) = search(segment_of(kind, stored), stored, np.array([[0.1, 0.9]], np.float32), 1)
    assert hits.rows.tolist() == [1]


@every_kind
def test_what_comes_in_must_be_what_was_announced(kind: Kind) -> None:
    """Too many, too few, of another width, numbers that do not rise, and blocks that are used up."""
    stored, numbers = vectors(3), np.arange(3, dtype=np.int64)
    for dim, blocks, count, reason in (
        (DIM, Blocks(numbers, stored), 2, "more than the 2 vectors"),
        (DIM, Blocks(numbers, stored), 4, "3 vectors came instead of 4"),
        (5, Blocks(numbers, stored), 3, r"\(n, 5\), got \(3, 8\)"),
        (DIM, Blocks(numbers[::-1], stored), 3, "must rise"),
        (DIM, Blocks(numbers[::-1], stored, size=1), 3, "must rise"),
        (DIM, iter(Blocks(numbers, stored)), 3, "more than once"),
        (DIM, [(numbers[:2], stored)], 3, "2 numbers came with 3 vectors"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            build(kind, dim, blocks, count)


@exact_kinds
@pytest.mark.parametrize(("count", "dim"), [(10_000, 256), (100_000, 64)])
def test_large_segments_agree_with_the_judge(kind: Kind, count: int, dim: int) -> None:
    """Same rows, same scores, for one query at a time and many together."""
    stored, queries = clustered(count, dim), clustered(6, dim, seed=1)
    segment = segment_of(kind, stored)
    expected = judged(stored, queries, 10)
    same(search(segment, stored, queries, 10), expected)
    same([search(segment, stored, query[None], 10)[0] for query in queries], expected)


@every_kind
def test_a_segment_that_was_saved_answers_the_same(kind: Kind, tmp_path: Path) -> None:
    """Also with a filter; and it takes the same memory."""
    stored, queries = vectors(3000, 32), vectors(5, 32, seed=1)
    segment = segment_of(kind, stored, np.arange(0, 9000, 3))
    save(segment, tmp_path)
    again = load(tmp_path)
    assert (again.kind, again.nbytes) == (segment.kind, segment.nbytes)
    assert again.numbers.tolist() == segment.numbers.tolist()
    for allowed in (None, np.arange(3000) % 2 == 0, np.arange(3000) % 300 == 0):
        same(search(again, stored, queries, 10, allowed), search(segment, stored, queries, 10, allowed))


def test_many_queries_for_many_neighbours_take_little_memory() -> None:
    """What is known to be too far below is let go of on the way, not in the end."""
    segment = segment_of("exact", vectors(120_000))
    queries = unit(vectors(50, seed=1), DIM)
    tracemalloc.start()
    found = segment.candidates(queries, 2500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(2500 <= len(places) < 3000 for places in found)
    assert peak < 20 * len(queries) * 120_000  # a place and a score for all


@every_kind
def test_no_query_has_no_answer(kind: Kind) -> None:
    """As when all of a request were refused."""
    segment = segment_of(kind, vectors(50))
    for allowed in (None, np.arange(50) == 7):
        assert segment.candidates(np.empty((0, DIM), np.float32), 3, allowed) == []


@every_kind
def test_an_empty_segment_can_be_saved(kind: Kind, tmp_path: Path) -> None:
    """Files without content are files too."""
    save(segment_of(kind, np.empty((0, DIM), np.float32)), tmp_path)
    again = load(tmp_path)
    assert (len(again.numbers), again.candidates(unit(vectors(1), DIM), 3)[0].tolist()) == (0, [])


# Few directions and small numbers, so that ties and repeats are the rule.
_vector = st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any)


@exact_kinds
@given(
    st.lists(st.tuples(_vector, st.booleans()), min_size=1, max_size=30),
    st.lists(_vector, min_size=1, max_size=6),
    st.integers(1, 8),
)
@settings(deadline=None)
def test_whatever_is_stored_allowed_and_asked_the_judge_agrees(
    kind: Kind, items: list[tuple[list[int], bool]], asked: list[list[int]], k: int
) -> None:
    """Ties at every rank, repeated vectors, everything or nothing allowed."""
    stored: Vector = np.array([vector for vector, _ in items], np.float32)
    allowed: NDArray[np.bool_] = np.array([kept for _, kept in items])
    queries: Vector = np.array(asked, np.float32)
    got, want = (
        search(segment_of(kind, stored), stored, queries, k, allowed),
        judged(stored, queries, k, allowed),
    )
    assert [hits.rows.tolist() for hits in got] == [hits.rows.tolist() for hits in want]
    assert [hits.scores.tolist() for hits in got] == [hits.scores.tolist() for hits in want]


APPROXIMATED = clustered(12_000, 64)


@cache
def approximated(kind: Kind) -> Segment:
    """A segment of some ten thousand vectors, built once."""
    return segment_of(kind, APPROXIMATED)


@pytest.fixture(params=["ivf", "hnsw"])
def approximate(request: pytest.FixtureRequest) -> Segment:
    """Each of the approximate kinds."""
    return approximated(request.param)


def share_found(segment: Segment, allowed: Mask | None = None, k: int = 10) -> float:
    """Recall, by queries that are not in the segment."""
    queries = clustered(100, 64, seed=1)
    found = search(segment, APPROXIMATED, queries, k, allowed)
    true = judged(APPROXIMATED, queries, k, allowed)
    return float(
        np.mean([len(np.intersect1d(a.rows[:k], b.rows[:k])) / k for a, b in zip(found, true, strict=True)])
    )


def test_approximate_kinds_find_what_they_were_made_to_find(approximate: Segment) -> None:
    """What was measured on a sample holds for queries that are not in it."""
    assert approximate.recall >= 0.99
    assert share_found(approximate) >= 0.97
    assert share_found(approximate, k=50) >= 0.9


def test_approximate_kinds_find_many_as_well(approximate: Segment) -> None:
    """Asked for more neighbours they read more: neither fewer come than there are, nor quite other ones."""
    for allowed in (None, np.random.default_rng(3).random(12_000) < 0.2):
        for k in (100, 1000):
            queries = unit(clustered(3, 64, seed=1), 64)
            assert all(len(places) >= k for places in approximate.candidates(queries, k, allowed))
            assert share_found(approximate, allowed, k) >= 0.9


@pytest.mark.parametrize("share", [0.9, 0.3, 0.2, 0.13, 0.05, 0.001])
def test_approximate_kinds_find_as_much_among_the_allowed(approximate: Segment, share: float) -> None:
    """Deletions and filters cost no recall, however much they leave out."""
    allowed = np.random.default_rng(3).random(12_000) < share
    assert share_found(approximate, allowed) >= 0.95


def test_approximate_kinds_find_what_lies_far_away(approximate: Segment) -> None:
    """Also when only vectors are allowed that are nowhere near the query."""
    units, query = unit(APPROXIMATED, 64), unit(APPROXIMATED[:1], 64)
    far = np.argsort(units @ query[0])[:200]
    allowed = np.isin(np.arange(12_000), far)
    for queries in (query, np.repeat(query, 3, axis=0)):
        for places in approximate.candidates(queries, 10, allowed):
            assert set(places.tolist()) <= set(far.tolist())
            assert len(np.intersect1d(places, judged(APPROXIMATED, query, 10, allowed)[0].rows)) >= 9


def test_approximate_kinds_do_not_lose_neighbours_among_repetitions(approximate: Segment) -> None:
    """Many vectors that are the same fill each other's lists and links; the others are still found."""
    stored = APPROXIMATED.copy()
    stored[5000:5300] = stored[5000]
    segment = segment_of(approximate.kind, stored)
    assert segment.recall >= 0.95
    (found,) = search(segment, stored, stored[[5000]], 10)
    assert found.scores[0] == found.scores[9] == 1.0


def test_an_approximate_segment_that_was_saved_answers_the_same(approximate: Segment, tmp_path: Path) -> None:
    """With the effort and the recall that were measured."""
    save(approximate, tmp_path)
    again = load(tmp_path)
    assert (again.kind, again.nbytes, again.recall) == (
        approximate.kind,
        approximate.nbytes,
        approximate.recall,
    )
    queries = unit(clustered(20, 64, seed=1), 64)
    for one, other in zip(approximate.candidates(queries, 10), again.candidates(queries, 10), strict=True):
        assert sorted(one.tolist()) == sorted(other.tolist())


def test_few_vectors_are_never_approximated() -> None:
    """A small collection that asks for `ivf` or `hnsw` gets all its neighbours."""
    for kind in ("ivf", "hnsw"):
        assert segment_of(kind, vectors(50)).kind == effective(kind, 50) == "exact-fp16"
        assert effective(kind, 10_000) == kind
    with pytest.raises(InvalidArgument, match="exact, exact-fp16, ivf, hnsw"):
        effective("flat", 50)


@pytest.mark.parametrize("kind", KINDS)
def test_many_threads_may_search_one_segment(kind: Kind) -> None:
    """Each gets its own answer, with and without filters, alone and together."""
    segment = approximated(kind)
    queries = unit(clustered(24, 64, seed=4), 64)
    allowed = np.arange(12_000) % 2 == 0

    def ask(number: int) -> list[list[int]]:
        mask = allowed if number % 2 else None
        of = queries[number : number + 1 + 5 * (number % 3 == 0)]
        return [sorted(places.tolist()) for places in segment.candidates(of, 10, mask)]

    alone = [ask(number) for number in range(18)]
    with ThreadPoolExecutor(6) as threads:
        for _ in range(5):
            assert list(threads.map(ask, range(18))) == alone
