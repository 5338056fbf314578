"""The plain kind: every vector as it is, compared with each query by the machine's matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.files import Reader, Writer
from extractor.indexes.segments import Blocks, Kind, Mask, Places, near, slack
from extractor.results import Vector

_SCORES = 16 << 20
"""Scores held at a time: 64 MiB of them."""

_SPARSE = 8
"""Picking vectors out pays when less than one in so many is allowed."""

_PICKED = 4096


class Float32Segment:
    """Unit vectors in float32; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    units : float32 array of shape (n, dim)
        Of length one; may be mapped from a file.
    """

    kind: Kind = "exact"

    def __init__(self, numbers: Rows, units: Vector) -> None:
        self.numbers = numbers
        self._units = units
        self._slack = slack(units.shape[1])

    @classmethod
    def build(cls, dim: int, blocks: Blocks, count: int) -> Float32Segment:
        """See `kinds.build`."""
        numbers, units = np.empty(count, np.int64), np.empty((count, dim), np.float32)
        for places, arrived in numbered(blocks, dim, count, numbers):
            units[places] = arrived
        return cls(numbers, units)

    @classmethod
    def read(cls, files: Reader) -> Float32Segment:
        """See `kinds.load`."""
        return cls(files.array("numbers"), files.array("units"))

    def write(self, files: Writer) -> dict[str, Any]:
        """See `Segment.write`."""
        files.array("numbers", self.numbers)
        files.array("units", self._units)
        return {}

    @property
    def nbytes(self) -> int:
        """See `Segment.nbytes`."""
        return self.numbers.nbytes + self._units.nbytes

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """See `Segment.candidates`."""
        if allowed is not None and _SPARSE * np.count_nonzero(allowed) < len(allowed):
            picked = np.flatnonzero(allowed)
            return [picked[near(scores, k, self._slack)] for scores in self._picked(queries, picked)]
        return [
            near(scores if allowed is None else np.where(allowed, scores, -np.inf), k, self._slack)
            for scores in self._all(queries)
        ]

    def units(self, places: Places) -> Vector | None:
        """See `Segment.units`."""
        found: Vector = self._units[places]
        return found

    def _all(self, queries: Vector) -> Iterator[Vector]:
        """The scores of every place, query by query."""
        step = max(1, _SCORES // max(1, len(self.numbers)))
        for start in range(0, len(queries), step):
            yield from _products(queries[start : start + step], self._units)

    def _picked(self, queries: Vector, places: Places) -> Vector:
        scores = np.empty((len(queries), len(places)), np.float32)
        for start in range(0, len(places), _PICKED):
            block = slice(start, start + _PICKED)
            scores[:, block] = _products(queries, self._units[places[block]])
        return scores


def _products(queries: Vector, units: Vector) -> Vector:
    """The scores, of shape (q, n); for one query BLAS reads the vectors at the memory's full speed."""
    if len(queries) == 1:
        alone: Vector = (units @ queries[0])[None]
        return alone
    scores: Vector = queries @ units.T
    return scores
