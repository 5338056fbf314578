"""An inverted file: vectors in lists around centroids, of which a search reads only the nearest.

The vectors are kept in eight bits a value, list after list. Centroids are
learned from a sample, and how many lists are read (nprobe) is chosen by
measuring: the fewest with which another sample finds its true neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor.indexes import Rows
from extractor.indexes.codes import Codec, Found, Selector
from extractor.indexes.files import Reader, Writer
from extractor.indexes.ivf_building import Learned, Lists, fill
from extractor.indexes.nearest import Mask, Places
from extractor.indexes.sampling import NEIGHBOURS, Judge, draw, halves, least_effort, rising, share, spare
from extractor.indexes.segments import Blocks, Kind
from extractor.indexes.threads import cores, each
from extractor.results import Vector

_POINTS = 24
"""Vectors of the sample for each centroid; more make it little better, and training longer."""

_QUERIES = 256

_TUNED = NEIGHBOURS + 1
"""nprobe is what finds so many, a vector itself among them."""


class IvfSegment:
    """Unit vectors in lists around centroids; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    lists : Lists
    nprobe : int
        Lists that a search reads.
    recall : float
        What was measured with so many.
    """

    kind: Kind = "ivf"

    def __init__(self, numbers: Rows, lists: Lists, nprobe: int = 1, recall: float = 0.0) -> None:
        self.numbers = numbers
        self._lists = lists
        self._codec = Codec(lists.codes.shape[1], "sq8", lists.ranges)
        self.nprobe, self.recall = nprobe, recall

    @classmethod
    def build(cls, dim: int, blocks: Blocks, count: int, recall: float) -> IvfSegment:
        """See `kinds.build`; goes through the blocks three times."""
        size = 2 * int(np.sqrt(count))
        sample, asked = halves(draw(blocks, dim, count, _POINTS * size + _QUERIES), _QUERIES)
        judge = Judge(asked)
        numbers, lists = fill(blocks, count, Learned.of(sample.units, size), judge)
        return cls(numbers, lists)._tuned(judge, recall)

    @classmethod
    def read(cls, files: Reader) -> IvfSegment:
        """See `kinds.load`."""
        lists = Lists(*map(files.array, Lists._fields))
        return cls(files.array("numbers"), lists, files.facts["nprobe"], files.facts["recall"])

    def write(self, files: Writer) -> dict[str, Any]:
        """See `Segment.write`."""
        files.array("numbers", self.numbers)
        for name, values in self._lists._asdict().items():
            files.array(name, values)
        return {"nprobe": self.nprobe, "recall": self.recall}

    @property
    def nbytes(self) -> int:
        """See `Segment.nbytes`."""
        return self.numbers.nbytes + sum(values.nbytes for values in self._lists)

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """See `Segment.candidates`."""
        return self._probing(queries, k, allowed, self.nprobe)

    def units(self, places: Places) -> Vector | None:  # noqa: ARG002
        """See `Segment.units`."""
        return None

    def _probing(self, queries: Vector, k: int, allowed: Mask | None, nprobe: int) -> list[Places]:
        chosen = self._chosen(queries, allowed, nprobe * max(1.0, k / _TUNED))
        selector, kept = Selector.of(allowed), spare(k)
        if len(queries) > 1:
            work = list(zip(queries, chosen, strict=True))
            return [found.places for found in each(lambda one: self._scan(*one, kept, selector), work)]
        return [self._alone(queries[of], lists, kept, selector) for of, lists in enumerate(chosen)]

    def _alone(self, query: Vector, lists: Places, k: int, allowed: Selector | None) -> Places:
        """One query on all cores."""
        shares = [lists[core :: cores()] for core in range(cores())]
        found = each(lambda mine: self._scan(query, mine, k, allowed), shares)
        scores, places = map(np.concatenate, zip(*found, strict=True))
        best: Places = places[np.argsort(-scores)[:k]]
        return best

    def _scan(self, query: Vector, lists: Places, k: int, allowed: Selector | None) -> Found:
        _, bounds, places, codes, _ = self._lists
        parts = ((codes[a:b], places[a:b]) for a, b in zip(bounds[lists], bounds[lists + 1], strict=True))
        return self._codec.scan(query, parts, k, allowed)

    def _chosen(self, queries: Vector, allowed: Mask | None, nprobe: float) -> list[Places]:
        """The lists to read for each query: with a filter as many more as hold as many that are allowed.

        Up to twice as many, the fewer are allowed: they lie farther apart, and so in more lists.
        """
        order = np.argsort(-(queries @ self._lists.centroids.T), axis=1)
        if allowed is None:
            return list(order[:, : math.ceil(nprobe)])
        sizes = self._sizes(allowed)
        wanted = (2 - float(np.mean(allowed))) * nprobe * len(self.numbers) / len(sizes)
        return [_until(lists[sizes[lists] > 0], sizes, wanted) for lists in order]

    def _sizes(self, allowed: Mask) -> NDArray[np.int64]:
        """How many vectors of each list are allowed."""
        before = np.concatenate([[0], np.cumsum(allowed[self._lists.places])])
        sizes: NDArray[np.int64] = np.diff(before[self._lists.bounds])
        return sizes

    def _tuned(self, judge: Judge, wanted: float) -> IvfSegment:
        """The same, reading as few lists as will do."""
        queries, true = judge.sample.units, judge.neighbours()
        nprobe, recall = least_effort(
            lambda effort: share(self._probing(queries, _TUNED, None, effort), true),
            rising(len(self._lists.centroids)),
            wanted,
        )
        return IvfSegment(self.numbers, self._lists, nprobe, recall)


def _until(lists: Places, sizes: NDArray[np.int64], wanted: float) -> Places:
    """The first of the lists that together have so many vectors, or all."""
    return lists[: int(np.searchsorted(np.cumsum(sizes[lists]), wanted)) + 1]
