"""The plain index: every row compared in float64. Slow and obvious, the judge of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.indexes import Hits, Rows, best, checked_k, unit
from extractor.results import Vector

_BLOCK = 8192


class ExactIndex:
    """Cosine search by comparing each query with every row.

    Parameters
    ----------
    dim : int
        Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._units = np.empty((0, dim), np.float32)
        self._rows = np.empty(0, np.int64)
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, vectors: ArrayLike) -> Rows:
        """Add vectors of shape (n, dim), of any length but zero; return their row numbers.

        Row numbers rise and are never used again.
        """
        units = unit(vectors, self._dim)
        rows = np.arange(self._next, self._next + len(units), dtype=np.int64)
        self._units = np.concatenate([self._units, units])
        self._rows = np.concatenate([self._rows, rows])
        self._next += len(units)
        return rows

    def remove(self, rows: ArrayLike) -> None:
        """Remove rows; those that are not there are passed over."""
        kept = ~np.isin(self._rows, np.asarray(rows, np.int64))
        self._units, self._rows = self._units[kept], self._rows[kept]

    def search(self, queries: ArrayLike, k: int) -> list[Hits]:
        """For each query of shape (q, dim): the `k` best rows and all that tie with the last of them.

        Raises
        ------
        InvalidArgument
            When `k` is under 1, or a query has the wrong width or no direction.
        """
        k = checked_k(k)
        return [best(self._rows, self._cosines(query), k) for query in unit(queries, self._dim)]

    def _cosines(self, query: Vector) -> NDArray[np.float64]:
        scores = np.empty(len(self._units), np.float64)
        for start in range(0, len(scores), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores[block] = self._units[block].astype(np.float64) @ query.astype(np.float64)
        return scores
