"""A graph of neighbours (HNSW) over vectors in eight bits a value.

The quickest to search and the slowest to build. How many vectors a search
looks at (efSearch) is chosen by measuring, as nprobe is for an inverted file.
"""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.codes import Codec, Selector
from extractor.indexes.files import Reader, Writer
from extractor.indexes.nearest import Mask, Places, is_sparse
from extractor.indexes.sampling import NEIGHBOURS, Judge, draw, halves, least_effort, rising, share, spare
from extractor.indexes.segments import Blocks, Kind
from extractor.indexes.threads import each
from extractor.results import Vector

_LINKS = 32
_LEARNED = 20_000
_QUERIES = 256
_MOST = 4096
_PIECE = 1 << 20

_untyped: Any = faiss


class HnswSegment:
    """Unit vectors in a graph; see `Segment`.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
    graph : faiss.IndexHNSWSQ
    ef : int
        Vectors that a search keeps in view.
    recall : float
        What was measured with so many.
    """

    kind: Kind = "hnsw"

    def __init__(self, numbers: Rows, graph: Any, ef: int = 1, recall: float = 0.0) -> None:
        self.numbers = numbers
        self.ef, self.recall = ef, recall
        self._graph, self._places = graph, np.arange(len(numbers))
        storage = _untyped.downcast_index(graph.storage)
        self._codec = Codec(graph.d, "sq8", faiss.vector_to_array(storage.sq.trained))
        self._codes = _untyped.rev_swig_ptr(storage.codes.data(), storage.codes.size()).reshape(-1, graph.d)

    @classmethod
    def build(cls, dim: int, blocks: Blocks, count: int, recall: float) -> HnswSegment:
        """See `kinds.build`; goes through the blocks twice."""
        sample, asked = halves(draw(blocks, dim, count, _LEARNED + _QUERIES), _QUERIES)
        judge = Judge(asked)
        graph = _untyped.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.train(sample.units)
        numbers = np.empty(count, np.int64)
        for places, units in numbered(blocks, dim, count, numbers):
            graph.add(units)
            judge.see(places, units)
        return cls(numbers, graph)._tuned(judge, recall)

    @classmethod
    def read(cls, files: Reader) -> HnswSegment:
        """See `kinds.load`."""
        graph = _untyped.read_index(str(files.path("graph")))
        return cls(files.array("numbers"), graph, files.facts["ef"], files.facts["recall"])

    def write(self, files: Writer) -> dict[str, Any]:
        """See `Segment.write`."""
        files.array("numbers", self.numbers)
        with files.stream("graph") as write:
            _untyped.write_index(self._graph, _untyped.PyCallbackIOWriter(write, _PIECE))
        return {"ef": self.ef, "recall": self.recall}

    @property
    def nbytes(self) -> int:
        """See `Segment.nbytes`."""
        links = 4 * self._graph.hnsw.neighbors.size() + 8 * self._graph.hnsw.offsets.size()
        return int(self.numbers.nbytes + self._places.nbytes + self._codes.nbytes + links)

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """See `Segment.candidates`."""
        selector = Selector.of(allowed)
        if allowed is not None and is_sparse(allowed):
            picked = np.flatnonzero(allowed)
            parts = [(self._codes[picked], picked)]
            return each(lambda query: self._codec.scan(query, parts, spare(k), None).places, queries)
        # What may not be found is followed all the same, and counts as seen.
        share = 1.0 if allowed is None else float(np.mean(allowed))
        return each(lambda query: self._looking(query, k, selector, self.ef, share), queries)

    def units(self, places: Places) -> Vector | None:  # noqa: ARG002
        """See `Segment.units`."""
        return None

    def _looking(
        self, query: Vector, k: int, allowed: Selector | None, ef: int, share: float = 1.0
    ) -> Places:
        # FAISS writes into these: they are of one call
        seen = math.ceil(max(ef, spare(k)) / share)
        how = _untyped.SearchParametersHNSW(efSearch=seen, sel=allowed and allowed.of_faiss)
        _, (found,) = self._graph.search(query[None], min(spare(k), len(self.numbers)), params=how)
        places: Places = found[found >= 0]
        return places

    def _tuned(self, judge: Judge, wanted: float) -> HnswSegment:
        """The same, looking at as little as will do."""
        queries, true = judge.sample.units, judge.neighbours()

        def measure(ef: int) -> float:
            return share(each(lambda query: self._looking(query, NEIGHBOURS + 1, None, ef), queries), true)

        ef, recall = least_effort(measure, rising(_MOST)[20:], wanted)
        return HnswSegment(self.numbers, self._graph, ef, recall)
