"""The plain kind: every vector as it is, compared with each query by the machine's matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.files import Reader, Writer
from extractor.indexes.nearest import Mask, Places, compare, slack
from extractor.indexes.segments import Blocks, Kind
from extractor.results import Vector


class Float32Segment:
    """Unit vectors in float32; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    units : float32 array of shape (n, dim)
        Of length one; may be mapped from a file.
    """

    kind: Kind = "exact"
    recall = 1.0

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
        return compare(queries, k, self._units, slack=self._slack, allowed=allowed)

    def units(self, places: Places) -> Vector | None:
        """See `Segment.units`."""
        found: Vector = self._units[places]
        return found
