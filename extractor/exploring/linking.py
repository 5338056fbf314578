"""Which rows hang together by pairs that are alike: single linkage, every pair compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from extractor.exploring.pairs import TILE, Tile, Tiled, tiles
from extractor.exploring.rows import Places
from extractor.exploring.watching import Watch, unwatched
from extractor.indexes import SCORE_DECIMALS
from extractor.indexes.products import products
from extractor.results import Vector

_AXES, _SAMPLE = 128, 2048
_FEW = 0.003  # the share of a tile's pairs up to which they are compared one by one
_TOLERANCE = 10.0**-SCORE_DECIMALS  # float32 products of unit vectors are off by a few 1e-7


class Sets:
    """Disjoint sets of places: the parent of each is in its set and is not after it."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count, dtype=np.int64)

    def roots(self, places: Places) -> Places:
        """The first place of the set of each."""
        roots = self._parents[places]
        while (roots != (above := self._parents[roots])).any():
            roots = above
        self._parents[places] = roots
        return roots

    def every_root(self) -> Places:
        """The first place of the set of every place, in order."""
        return self.roots(np.arange(len(self._parents)))

    def join(self, left: Places, right: Places) -> None:
        """Make one set of those of `left[i]` and `right[i]`, for every i."""
        ends = np.stack([self.roots(left), self.roots(right)])
        ends = ends[:, ends[0] != ends[1]]
        if not ends.size:
            return
        nodes, edges = np.unique(ends, return_inverse=True)
        start, end = edges.reshape(ends.shape)
        graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(len(nodes), len(nodes)))
        _, component = connected_components(graph, directed=False)
        _, firsts = np.unique(component, return_index=True)
        self._parents[nodes] = nodes[firsts[component]]

    def groups(self) -> Iterator[Places]:
        """The sets of more than one, the largest first."""
        roots = self.every_root()
        order = np.argsort(roots, kind="stable")
        first, starts, sizes = np.unique(roots[order], return_index=True, return_counts=True)
        for number in np.lexsort((first, -sizes)):
            if sizes[number] > 1:
                yield order[starts[number] : starts[number] + sizes[number]]


class Linked(NamedTuple):
    """What hangs together from a threshold on.

    Attributes
    ----------
    threshold : float
    sets : Sets
    degrees : int64 array of shape (n,)
        With how many others each row reaches the threshold.
    """

    threshold: float
    sets: Sets
    degrees: Places

    @property
    def density(self) -> float:
        """Of the rows that are not alone, the mean share of their set that they reach the threshold with.

        1 where all of a set are alike, near 0 where a set is a long chain.
        """
        _, which, sizes = np.unique(self.sets.every_root(), return_inverse=True, return_counts=True)
        others = sizes[which] - 1
        linked = others > 0
        return float((self.degrees[linked] / others[linked]).mean()) if linked.any() else 1.0


def link(
    rows: Tiled, thresholds: Sequence[float], watch: Watch = unwatched, screen: Tiled | None = None
) -> list[Linked]:
    """Join every two rows whose cosine reaches a threshold, for each threshold.

    Time grows with the square of the rows; memory is that of one tile of
    pairs, and 16 bytes a row and threshold.

    Parameters
    ----------
    rows : Tiled
    thresholds : sequence of float
        Rising.
    watch : Watch
        Is shown the tiles of pairs.
    screen : Tiled, optional
        What `screen_of` makes of the rows: says of most pairs that they need not be compared.
    """
    found = [Linked(each, Sets(len(rows)), np.zeros(len(rows), np.int64)) for each in thresholds]
    floor = thresholds[0] - _TOLERANCE
    for left, right, scores, diagonal in _pairs(rows, rows if screen is None else screen, floor, watch):
        for linked in found:
            alike = scores >= linked.threshold - _TOLERANCE
            _take(linked, left[alike], right[alike], twice=diagonal)
    return found


class Screen:
    """Rows so short that comparing them costs little; their products are never less than the cosines.

    Of each unit vector its part along some axes and the length of the rest: by
    Cauchy and Schwarz two rests add at most the product of their lengths.
    """

    def __init__(self, short: Vector) -> None:
        self._short = short

    def __len__(self) -> int:
        return len(self._short)

    def tile(self, start: int, count: int) -> Vector:
        """Up to `count` rows from `start` on."""
        return self._short[start : start + count]


def screen_of(rows: Tiled, watch: Watch = unwatched) -> Screen | None:
    """The rows along the axes that most of a sample of them is in: 516 bytes a row.

    None where comparing them as they are costs as little.
    """
    dim = rows.tile(0, 1).shape[1]
    if len(rows) < 2 * TILE or dim < 4 * _AXES:
        return None
    places = np.linspace(0, len(rows) - 1, _SAMPLE).astype(int).tolist()
    sample = np.concatenate([rows.tile(place, 1) for place in places])
    # Any axes do; these are near the best, as Halko, Martinsson and Tropp (2011) find them.
    some = np.random.default_rng(0).normal(size=(dim, _AXES)).astype(np.float32)
    axes, _ = np.linalg.qr(sample.T @ (sample @ some))
    parts = []
    starts = range(0, len(rows), TILE)
    for start in watch(starts, len(starts), "shorten", " tiles"):
        units = rows.tile(start, TILE)
        along = units @ axes
        rest = np.square(units).sum(axis=1) - np.square(along).sum(axis=1)
        parts.append(np.column_stack([along, np.sqrt(np.maximum(rest, 0) + _TOLERANCE)]))
    return Screen(np.concatenate(parts, dtype=np.float32))


def _pairs(
    rows: Tiled, screen: Tiled, floor: float, watch: Watch
) -> Iterator[tuple[Places, Places, Vector, bool]]:
    """Tile by tile the pairs whose cosine is at least `floor`, their cosines, and whether it is diagonal."""
    for tile in tiles(screen, watch):
        left, right = np.nonzero(tile.scores >= floor)
        scores = tile.scores[left, right] if screen is rows else _cosines(rows, tile, left, right)
        alike = scores >= floor
        yield tile.left[left[alike]], tile.right[right[alike]], scores[alike], tile.diagonal


def _cosines(rows: Tiled, tile: Tile, left: Places, right: Places) -> Vector:
    """Of the pairs of a tile that a screen has let through."""
    if not len(left):
        return np.empty(0, np.float32)
    one, other = (rows.tile(int(side[0]), len(side)) for side in (tile.left, tile.right))
    if len(left) > tile.scores.size * _FEW:
        whole: Vector = products(one, other)[left, right]
        return whole
    spans = range(0, len(left), TILE)
    parts = [(one[left[at : at + TILE]] * other[right[at : at + TILE]]).sum(axis=1) for at in spans]
    return np.concatenate(parts)


def _take(linked: Linked, left: Places, right: Places, *, twice: bool) -> None:
    """Pairs of one tile; on the diagonal each stands there twice, and each row beside itself."""
    linked.sets.join(left, right)
    other = left != right
    np.add.at(linked.degrees, left[other], 1)
    if not twice:
        np.add.at(linked.degrees, right, 1)


def equals(values: NDArray[np.generic]) -> tuple[Places, Places]:
    """Each place, and the first of the same value."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    return np.arange(len(values)), first[which]
