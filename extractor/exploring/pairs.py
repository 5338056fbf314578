"""Every image compared with every other, tile by tile: the whole matrix is never there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from extractor.exploring.rows import Places
from extractor.exploring.watching import Watch, unwatched
from extractor.indexes.products import products
from extractor.results import Vector

TILE = 1024
"""Rows and columns of a tile: 4 MB of scores, large enough for BLAS to be at its best."""


class Tiled(Protocol):
    """Rows to compare: `extractor.exploring.rows.Rows`, or what looks like them."""

    def __len__(self) -> int: ...

    def tile(self, start: int, count: int) -> Vector:
        """Unit vectors of up to `count` rows from `start` on, of shape (n, dim)."""
        ...


class Tile(NamedTuple):
    """The cosines of some rows with some others.

    Attributes
    ----------
    left, right : int64 arrays of shapes (m,) and (n,)
        The places of the rows; `right` is `left` or comes after it.
    scores : float32 array of shape (m, n)
    """

    left: Places
    right: Places
    scores: Vector

    @property
    def diagonal(self) -> bool:
        """Whether rows are compared with themselves here."""
        return bool(self.left[0] == self.right[0])


def tiles(rows: Tiled, watch: Watch = unwatched, size: int = TILE) -> Iterator[Tile]:
    """Every pair of rows once, except in diagonal tiles, where each stands twice.

    Parameters
    ----------
    rows : Tiled
    watch : Watch
        Is shown the tiles.
    size : int
        Rows of a tile.
    """
    starts = range(0, len(rows), size)
    pairs = ((left, right) for left in starts for right in starts[left // size :])
    units, at = rows.tile(0, 0), -1
    for left, right in watch(pairs, len(starts) * (len(starts) + 1) // 2, "compare", " tiles"):
        if left != at:
            units, at = rows.tile(left, size), left
        others = units if right == left else rows.tile(right, size)
        yield Tile(_span(left, units), _span(right, others), products(units, others))


def nearest(rows: Tiled, k: int, watch: Watch = unwatched, size: int = TILE) -> NDArray[np.float32]:
    """The cosines of each row with the `k` others that are most like it.

    Returns
    -------
    float32 array of shape (n, k)
        In no order; minus infinity where there are fewer others.
    """
    best = np.full((len(rows), k), -np.inf, np.float32)
    for tile in tiles(rows, watch, size):
        if tile.diagonal:
            np.fill_diagonal(tile.scores, -np.inf)
        else:
            _keep_best(best, tile.right, tile.scores.T)
        _keep_best(best, tile.left, tile.scores)
    return best


def _keep_best(best: NDArray[np.float32], places: Places, scores: Vector) -> None:
    k = best.shape[1]
    both = np.concatenate([best[places], scores], axis=1)
    best[places] = np.partition(both, -k, axis=1)[:, -k:]


def _span(start: int, units: Vector) -> Places:
    return np.arange(start, start + len(units), dtype=np.int64)
