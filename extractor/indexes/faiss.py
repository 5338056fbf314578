"""FAISS's exact index: finds candidates quickly in float32, scores them again in float64.

FAISS computes the same product by several routes (one query or many, SIMD or
BLAS) that round differently, so equal vectors need not get equal scores.
Scoring the few candidates again makes the answer the same by every route.
"""

from __future__ import annotations

from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.indexes import SCORE_DECIMALS, Hits, Rows, best, checked_k, unit
from extractor.results import Vector

Places: TypeAlias = NDArray[np.int64]

_SPARE = 32
_BLOCK = 4096

# FAISS leaves BLAS alone until queries * dim reaches 128,000: at 1280 values that is 100 queries,
# and 64 of them take six times as long as they need. It pays from about four queries.
faiss.cvar.distance_compute_blas_threshold = 4 * 1280


class FaissIndex:
    """Cosine search with FAISS over the unit vectors in memory.

    Parameters
    ----------
    dim : int
        Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        # float32 sums of `dim` products are off by at most dim * 2**-24, so a row that is twice as far
        # below the last candidate cannot tie with it.
        self._slack = 2 * dim * 2.0**-24 + 10.0**-SCORE_DECIMALS
        self._flat = faiss.IndexFlatIP(dim)
        # FAISS closes the gap when a vector goes; this holds the row number at each place, rising.
        self._rows = np.empty(0, np.int64)
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, vectors: ArrayLike) -> Rows:
        """See `Index.add`."""
        units = unit(vectors, self._dim)
        rows = np.arange(self._next, self._next + len(units), dtype=np.int64)
        self._flat.add(units)
        self._rows = np.concatenate([self._rows, rows])
        self._next += len(units)
        return rows

    def remove(self, rows: ArrayLike) -> None:
        """See `Index.remove`."""
        places = np.flatnonzero(np.isin(self._rows, np.asarray(rows, np.int64)))
        if len(places):
            self._flat.remove_ids(faiss.IDSelectorBatch(places))
            self._rows = np.delete(self._rows, places)

    def search(self, queries: ArrayLike, k: int) -> list[Hits]:
        """See `Index.search`."""
        checked_k(k)
        units = unit(queries, self._dim)
        if not len(self):
            return [best(self._rows, np.empty(0), k) for _ in units]
        scores, places = self._flat.search(units, min(k + _SPARE, len(self)))
        return [
            self._scored(query, self._complete(query, near, found, k), k)
            for query, near, found in zip(units, places, scores, strict=True)
        ]

    def _complete(self, query: Vector, places: Places, scores: Vector, k: int) -> Places:
        """`places`, or when one beyond them could still tie with the k-th, all that could."""
        if len(places) == len(self):
            return places
        floor = float(scores[k - 1]) - self._slack
        if scores[-1] < floor:
            return places
        _, _, close = self._flat.range_search(query[None], floor)
        return np.asarray(close, np.int64)

    def _scored(self, query: Vector, places: Places, k: int) -> Hits:
        exact = query.astype(np.float64)
        units = faiss.rev_swig_ptr(self._flat.get_xb(), len(self) * self._dim).reshape(-1, self._dim)
        blocks = [places[start : start + _BLOCK] for start in range(0, len(places), _BLOCK)]
        scores = np.concatenate([units[block].astype(np.float64) @ exact for block in blocks])
        return best(self._rows[places], scores, k)
