"""What every index does; the exact one is the judge of the others."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from extractor.errors import InvalidArgument
from extractor.indexes import Index
from extractor.indexes.exact import ExactIndex
from extractor.indexes.faiss import FaissIndex

DIM = 8
MakeIndex = Callable[[int], Index]


@pytest.fixture(params=[ExactIndex, FaissIndex], ids=["exact", "faiss"])
def make(request: pytest.FixtureRequest) -> MakeIndex:
    made: MakeIndex = request.param
    return made


def vectors(count: int, dim: int = DIM, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of many lengths that lie close together, as those of photos do."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((count, dim)) + 2 * rng.standard_normal(dim)
    return (directions * rng.uniform(0.01, 100, (count, 1))).astype(np.float32)


def found(index: Index, query: Sequence[float] | NDArray[np.float32], k: int) -> list[int]:
    (hits,) = index.search([query], k)
    rows: list[int] = hits.rows.tolist()
    return rows


def test_a_vector_is_its_own_nearest_neighbour_at_any_length(make: MakeIndex) -> None:
    """A stored vector times 3, or a millionth of it, has the score 1 with itself."""
    index = make(DIM)
    stored = vectors(20)
    rows = index.add(stored)
    for factor in (1, 3, 1e-6):
        hits = index.search(stored * factor, 1)
        assert [int(hit.rows[0]) for hit in hits] == rows.tolist()
        assert all(hit.scores[0] == 1.0 for hit in hits)


def test_scores_are_cosines(make: MakeIndex) -> None:
    """The same direction is 1, a right angle 0, the opposite -1, whatever the lengths."""
    index = make(2)
    index.add([[5, 0], [0, 0.1], [-70, 0]])
    (hits,) = index.search([[2, 0]], 3)
    assert hits.rows.tolist() == [0, 1, 2]
    assert hits.scores.tolist() == [1.0, 0.0, -1.0]


def test_ties_with_the_last_are_all_returned(make: MakeIndex) -> None:
    """Equal directions get equal scores, and none of them is left out by chance."""
    index = make(DIM)
    stored = vectors(100)
    stored[10:90] = stored[10] * np.linspace(0.5, 20, 80, dtype=np.float32)[:, None]
    index.add(stored)
    assert found(index, stored[10], 1) == list(range(10, 90))
    (hits,) = index.search(stored[[10]], 5)
    assert set(hits.scores) == {1.0}


def test_an_empty_index_finds_nothing(make: MakeIndex) -> None:
    """Each query gets its own empty answer."""
    assert [len(hits.rows) for hits in make(DIM).search(vectors(3), 10)] == [0, 0, 0]


def test_one_row(make: MakeIndex) -> None:
    """More neighbours than rows are asked for: the one there is comes back."""
    index = make(DIM)
    index.add(vectors(1))
    assert found(index, vectors(1, seed=5)[0], 10) == [0]


def test_nothing_added_and_nothing_asked(make: MakeIndex) -> None:
    """Empty batches are no error."""
    index = make(DIM)
    assert index.add(np.empty((0, DIM))).tolist() == []
    index.remove([])
    assert index.search(np.empty((0, DIM)), 3) == []


def test_removed_rows_are_gone_and_the_others_keep_their_numbers(make: MakeIndex) -> None:
    """Numbers are never used again, not even that of the last row."""
    index = make(DIM)
    stored = vectors(10)
    index.add(stored)
    index.remove([0, 4, 9])
    assert len(index) == 7
    assert found(index, stored[5], 10)[0] == 5
    assert index.add(stored[:1]).tolist() == [10]
    assert sorted(found(index, stored[5], 10)) == [1, 2, 3, 5, 6, 7, 8, 10]


def test_removing_what_is_not_there_changes_nothing(make: MakeIndex) -> None:
    """Twice is as good as once."""
    index = make(DIM)
    index.add(vectors(3))
    index.remove([1, 99])
    index.remove([1])
    assert len(index) == 2


def test_the_same_vector_twice_is_two_rows(make: MakeIndex) -> None:
    """Rows are not told apart by their content."""
    index = make(DIM)
    index.add(np.repeat(vectors(1), 2, axis=0))
    assert found(index, vectors(1)[0], 2) == [0, 1]


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf], ids=["zero", "nan", "inf"])
def test_a_vector_without_direction_poisons_nothing(make: MakeIndex, bad: float) -> None:
    """It is refused with its place, as item and as query, and the index stays as it was."""
    index = make(DIM)
    stored = vectors(3)
    index.add(stored)
    batch = vectors(3, seed=1)
    batch[1] = 0
    batch[1, 2] = bad
    for refused in (lambda: index.add(batch), lambda: index.search(batch, 2)):
        with pytest.raises(InvalidArgument, match="vector 1 of 3"):
            refused()
    assert found(index, stored[2], 9)[0] == 2
    assert len(index) == 3


@pytest.mark.parametrize("scale", [1e-40, 1e38], ids=["tiny", "huge"])
def test_lengths_at_the_ends_of_float32(make: MakeIndex, scale: float) -> None:
    """The square of such a number is no float32; the direction is still found."""
    index = make(2)
    index.add(np.array([[1, 0], [0, 1]]) * scale)
    assert found(index, np.array([0.1, 0.9], np.float32), 1) == [1]


def test_the_wrong_width_is_named(make: MakeIndex) -> None:
    """Both widths are in the message."""
    with pytest.raises(InvalidArgument, match=r"\(n, 8\), got \(2, 3\)"):
        make(DIM).add(np.ones((2, 3)))
    with pytest.raises(InvalidArgument, match=r"\(n, 8\), got \(3,\)"):
        make(DIM).search(np.ones(3), 1)


def test_k_under_one_is_refused(make: MakeIndex) -> None:
    """Also by an index that holds nothing."""
    with pytest.raises(InvalidArgument, match="at least 1, not 0"):
        make(DIM).search(vectors(1), 0)


@pytest.mark.parametrize(("count", "dim"), [(10_000, 256), (100_000, 64)])
def test_large_indexes_agree_with_the_judge(make: MakeIndex, count: int, dim: int) -> None:
    """Same rows, same scores, for one query at a time and many together."""
    stored, queries = vectors(count, dim), vectors(20, dim, seed=1)
    index, judge = make(dim), ExactIndex(dim)
    for part in np.array_split(stored, 3):
        index.add(part)
        judge.add(part)
    index.remove(range(0, count, 7))
    judge.remove(range(0, count, 7))
    expected = judge.search(queries, 10)
    together = index.search(queries, 10)
    alone = [index.search([query], 10)[0] for query in queries]
    for want, *answers in zip(expected, together, alone, strict=True):
        for got in answers:
            assert got.rows.tolist() == want.rows.tolist()
            np.testing.assert_allclose(got.scores, want.scores, atol=2e-6)


# Few directions and small numbers, so that ties and repeats are the rule.
_vector = st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(_vector, min_size=1, max_size=4)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 12), max_size=3)),
        st.tuples(st.just("search"), st.tuples(_vector, st.integers(1, 6))),
    ),
    max_size=12,
)


@given(_steps)
@settings(deadline=None)
def test_any_sequence_of_steps_agrees_with_the_judge(steps: list[tuple[str, list[list[int]]]]) -> None:
    """Adding, removing and searching in any order gives what the exact index gives."""
    index, judge = FaissIndex(3), ExactIndex(3)
    for step, value in steps:
        if step == "search":
            query, k = value
            (got,), (want,) = index.search([query], k), judge.search([query], k)
            assert got.rows.tolist() == want.rows.tolist()
            assert got.scores.tolist() == want.scores.tolist()
        else:
            answers = [getattr(each, step)(value) for each in (index, judge)]
            assert np.array_equal(*answers) if step == "add" else answers == [None, None]
    assert len(index) == len(judge)
