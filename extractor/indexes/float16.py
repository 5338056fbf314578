"""Half the memory, twice the speed, the same answer: vectors as 16-bit floats.

What rounding takes from a vector is measured when the segment is built, and
bounds by how much a score can be off. All that could belong to the answer
within this bound are candidates, so none is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.codes import Bytes, Codec, Found, Selector
from extractor.indexes.files import Reader, Writer
from extractor.indexes.nearest import Mask, Places, compare, is_sparse, near, slack
from extractor.indexes.segments import Blocks, Kind
from extractor.indexes.threads import each, ranges
from extractor.results import Vector

_TOGETHER = 4
"""From so many queries on, decoding once for all of them and one matrix product are quicker."""

_SPARE = 32
_LEAST = 1024


class Float16Segment:
    """Unit vectors as 16-bit floats; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    codes : uint8 array of shape (n, 2 * dim)
        May be mapped from a file.
    rounding : float
        See `Codec.rounding`.
    """

    kind: Kind = "exact-fp16"
    recall = 1.0

    def __init__(self, numbers: Rows, codes: Bytes, rounding: float) -> None:
        self.numbers = numbers
        self._codes, self._rounding = codes, rounding
        self._codec = Codec(codes.shape[1] // 2, "fp16")
        self._slack = slack(self._codec.dim, rounding)
        self._places = np.arange(len(numbers))

    @classmethod
    def build(cls, dim: int, blocks: Blocks, count: int) -> Float16Segment:
        """See `kinds.build`."""
        codec, rounding = Codec(dim, "fp16"), 0.0
        numbers, codes = np.empty(count, np.int64), np.empty((count, codec.size), np.uint8)
        for places, units in numbered(blocks, dim, count, numbers):
            codes[places] = codec.encode(units)
            rounding = max(rounding, codec.rounding(units, codes[places]))
        return cls(numbers, codes, rounding)

    @classmethod
    def read(cls, files: Reader) -> Float16Segment:
        """See `kinds.load`."""
        return cls(files.array("numbers"), files.array("codes"), files.facts["rounding"])

    def write(self, files: Writer) -> dict[str, Any]:
        """See `Segment.write`."""
        files.array("numbers", self.numbers)
        files.array("codes", self._codes)
        return {"rounding": self._rounding}

    @property
    def nbytes(self) -> int:
        """See `Segment.nbytes`."""
        return self.numbers.nbytes + self._places.nbytes + self._codes.nbytes

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """See `Segment.candidates`."""
        if len(queries) >= _TOGETHER or (allowed is not None and is_sparse(allowed)):
            return compare(
                queries, k, self._rows, len(self.numbers), slack=self._slack, allowed=allowed, block=4096
            )
        selector = Selector.of(allowed)
        return [self._alone(query, k, selector) for query in queries]

    def units(self, places: Places) -> Vector | None:  # noqa: ARG002
        """See `Segment.units`."""
        return None

    def _rows(self, places: Any) -> Vector:
        codes = self._codes[places]
        units = np.empty((len(codes), self._codec.dim), np.float32)
        each(lambda rows: self._codec.decode(codes[rows], units[rows]), ranges(len(codes), _LEAST))
        return units

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
        def part(rows: slice) -> Found:
            return self._codec.scan(query, [(self._codes[rows], self._places[rows])], k, allowed)

        return each(part, ranges(len(self.numbers), _LEAST))
