from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.exploring.linking import Sets, equals, link, screen_of


class Angles:
    """Unit vectors in a plane, in degrees: the cosine of two is that of their difference."""

    def __init__(self, *degrees: float) -> None:
        self._units = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1).astype("f4")

    def __len__(self) -> int:
        return len(self._units)

    def tile(self, start: int, count: int) -> np.ndarray:
        return self._units[start : start + count]


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def test_every_threshold_has_its_own_sets() -> None:
    wide, narrow = link(Angles(0, 3, 50, 51, 90), [cosine(4), cosine(2)])
    assert wide.sets.every_root().tolist() == [0, 0, 2, 2, 4]
    assert narrow.sets.every_root().tolist() == [0, 1, 2, 2, 4]


def test_a_chain_is_less_dense_than_pictures_that_are_all_alike() -> None:
    (chain,) = link(Angles(*range(0, 60, 3)), [cosine(4)])
    (clique,) = link(Angles(*np.linspace(0, 3, 20)), [cosine(4)])
    assert len(set(chain.sets.every_root().tolist())) == len(set(clique.sets.every_root().tolist())) == 1
    assert clique.density == 1
    assert chain.density == pytest.approx(2 * 19 / (20 * 19))


def test_degrees_count_every_other_row_once_across_tiles() -> None:
    """More rows than a tile has."""
    (linked,) = link(Angles(*np.repeat([0, 90], 700)), [0.99])
    assert set(linked.degrees.tolist()) == {699}


def test_rows_that_are_alone_leave_the_density_at_one() -> None:
    (linked,) = link(Angles(0, 90), [0.9])
    assert linked.density == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_joined_places_have_one_root_and_it_is_the_first(pairs: list[tuple[int, int]]) -> None:
    sets, expected = Sets(10), [{place} for place in range(10)]
    for left, right in pairs:
        sets.join(np.array([left]), np.array([right]))
        both = expected[left] | expected[right]
        for place in both:
            expected[place] = both
    assert sets.every_root().tolist() == [min(each) for each in expected]


def test_equal_values_are_joined_with_the_first() -> None:
    place, first = equals(np.array(["b", "a", "b", "a"]))
    assert (place.tolist(), first.tolist()) == ([0, 1, 2, 3], [0, 1, 0, 1])


class Rows:
    def __init__(self, vectors: np.ndarray) -> None:
        self.units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")

    def __len__(self) -> int:
        return len(self.units)

    def tile(self, start: int, count: int) -> np.ndarray:
        return self.units[start : start + count]


@pytest.mark.parametrize("rank", [30, 512], ids=["of few dimensions", "of all dimensions"])
def test_a_screen_saves_comparisons_and_changes_nothing(rank: int) -> None:
    """Planted pairs of every cosine about the threshold, among rows that are alike a little or not at all."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2500, rank)) @ rng.normal(size=(rank, 512)) + 2.0
    vectors[2000:] = vectors[:500] + rng.uniform(0, 0.5, (500, 1)) * rng.permutation(vectors[:500])
    rows = Rows(vectors)
    screen = screen_of(rows)
    assert screen is not None
    assert (
        screen.tile(0, 600) @ screen.tile(1900, 600).T >= rows.tile(0, 600) @ rows.tile(1900, 600).T
    ).all()
    for plain, screened in zip(link(rows, [0.9, 0.97]), link(rows, [0.9, 0.97], screen=screen), strict=True):
        assert plain.degrees.sum() > 0
        assert np.array_equal(plain.degrees, screened.degrees)
        assert np.array_equal(plain.sets.every_root(), screened.sets.every_root())


def test_few_or_narrow_rows_need_no_screen() -> None:
    rng = np.random.default_rng(0)
    assert screen_of(Rows(rng.normal(size=(100, 1280)))) is None
    assert screen_of(Rows(rng.normal(size=(3000, 64)))) is None
