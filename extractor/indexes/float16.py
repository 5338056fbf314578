"""Half the memory, twice the speed, the same answer: vectors as 16-bit floats.

What rounding takes from a vector is measured when the segment is built, and
bounds by how much a score can be off. All that could belong to the answer
within this bound are candidates, so none is lost.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.codes import Codec, Found, Selector
from extractor.indexes.files import Reader, Writer
from extractor.indexes.nearest import Mask, Places, compare, is_sparse, near, slack
from extractor.indexes.segments import Blocks, Kind
from extractor.indexes.threads import each, ranges
from extractor.results import Vector

Halves: TypeAlias = NDArray[np.float16]

_SCALE = 2.0**14
"""No value of a unit vector gets too large by it, and next to none too small for a full fraction."""

_TOGETHER = 7
"""Fewer queries are quicker one by one."""

_SPARE = 32
_LEAST = 1024


class Float16Segment:
    """Unit vectors as 16-bit floats; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    halves : float16 array of shape (n, dim)
        The vectors times `_SCALE`; may be mapped from a file.
    rounding : float
        The longest difference between a vector and what is kept of it.
    """

    kind: Kind = "exact-fp16"
    recall = 1.0

    def __init__(self, numbers: Rows, halves: Halves, rounding: float) -> None:
        self.numbers = numbers
        self._halves, self._rounding = halves, rounding
        self._codec = Codec(halves.shape[1], "fp16")
        self._slack = slack(halves.shape[1], rounding)
        self._places = np.arange(len(numbers))

    @classmethod
    def build(cls, dim: int, blocks: Blocks, count: int) -> Float16Segment:
        """See `kinds.build`."""
        numbers, halves, rounding = np.empty(count, np.int64), np.empty((count, dim), np.float16), 0.0
        for places, units in numbered(blocks, dim, count, numbers):
            halves[places] = units * np.float32(_SCALE)
            lost = units - halves[places].astype(np.float32) / np.float32(_SCALE)
            rounding = max(rounding, float(np.sqrt(np.einsum("ij,ij->i", lost, lost).max())))
        return cls(numbers, halves, rounding)

    @classmethod
    def read(cls, files: Reader) -> Float16Segment:
        """See `kinds.load`."""
        return cls(files.array("numbers"), files.array("halves"), files.facts["rounding"])

    def write(self, files: Writer) -> dict[str, Any]:
        """See `Segment.write`."""
        files.array("numbers", self.numbers)
        files.array("halves", self._halves)
        return {"rounding": self._rounding}

    @property
    def nbytes(self) -> int:
        """See `Segment.nbytes`."""
        return self.numbers.nbytes + self._places.nbytes + self._halves.nbytes

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """See `Segment.candidates`."""
        scaled = queries * np.float32(1 / _SCALE)
        if len(queries) >= _TOGETHER or (allowed is not None and is_sparse(allowed)):
            return compare(scaled, k, self._halves, slack=self._slack, allowed=allowed)
        selector = Selector.of(allowed)
        return [self._alone(query, k, selector) for query in scaled]

    def units(self, places: Places) -> Vector | None:  # noqa: ARG002
        """See `Segment.units`."""
        return None

    def _alone(self, query: Vector, k: int, allowed: Selector | None) -> Places:
        kept = k + _SPARE
        while True:
            found = self._scan(query, kept, allowed)
            scores, places = map(np.concatenate, zip(*found, strict=True))
            close = near(scores, k, self._slack)
            lowest = scores[close].min(initial=np.inf)
            # where more was left out than kept, what was left out must be too far away
            if kept >= len(self.numbers) or all(
                len(part.scores) < kept or part.scores.min() < lowest for part in found
            ):
                return places[close]
            kept *= 8

    def _scan(self, query: Vector, k: int, allowed: Selector | None) -> list[Found]:
        codes = self._halves.view(np.uint8)

        def part(rows: slice) -> Found:
            return self._codec.scan(query, [(codes[rows], self._places[rows])], k, allowed)

        return each(part, ranges(len(self.numbers), _LEAST))
