"""Vectors kept as codes of fewer bits each, with FAISS's scalar quantizer: 16-bit floats or 8-bit steps.

FAISS's scanners compare a query with codes wherever these lie, also in a
mapped file, and without a thread of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from extractor.indexes.nearest import Mask, Places
from extractor.results import Vector

Precision: TypeAlias = Literal["fp16", "sq8"]
Bytes: TypeAlias = NDArray[np.uint8]

_untyped: Any = faiss  # its type hints leave out much, and some of what Python adds
_TYPES = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}


class Found(NamedTuple):
    """The best of what was scanned, in no order: float32 scores and int64 places, each of shape (n,)."""

    scores: Vector
    places: Places


class Codec:
    """Turns vectors into codes, and compares codes with a query.

    Parameters
    ----------
    dim : int
    precision : Precision
    ranges : float32 array of shape (2 * dim,), optional
        What `train` has learned, for `sq8`.
    """

    def __init__(self, dim: int, precision: Precision, ranges: Vector | None = None) -> None:
        self.dim = dim
        self._quantizer = _untyped.ScalarQuantizer(dim, _TYPES[precision])
        self.size = int(self._quantizer.code_size)
        if ranges is not None:
            faiss.copy_array_to_vector(np.ascontiguousarray(ranges), self._quantizer.trained)

    @classmethod
    def train(cls, sample: Vector, precision: Precision) -> Codec:
        """Learn the range of each value from a sample of shape (n, dim)."""
        codec = cls(sample.shape[1], precision)
        codec._quantizer.train(sample)
        return codec

    @property
    def ranges(self) -> Vector:
        """What `train` has learned."""
        learned: Vector = faiss.vector_to_array(self._quantizer.trained)
        return learned

    def encode(self, vectors: Vector) -> Bytes:
        """Codes of shape (n, size) for vectors of shape (n, dim)."""
        codes: Bytes = self._quantizer.compute_codes(vectors)
        return codes

    def scan(
        self, query: Vector, parts: Iterable[tuple[Bytes, Places]], k: int, allowed: Selector | None
    ) -> Found:
        """Compare a query with codes and keep the `k` best; runs in the thread that calls it.

        Parameters
        ----------
        query : float32 array of shape (dim,)
        parts : iterable of (codes, places)
            Of shapes (n, size) and (n,), without gaps in memory.
        k : int
        allowed : Selector or None
            The places that may be found.
        """
        scores, places = np.full(k, -np.inf, np.float32), np.full(k, -1, np.int64)
        with self._scanner(allowed) as scanner:
            scanner.set_query(faiss.swig_ptr(query))
            for codes, labels in parts:
                arrays = (faiss.swig_ptr(array) for array in (codes, labels, scores, places))
                scanner.scan_codes(len(codes), *arrays, k)
        there = places >= 0
        return Found(scores[there], places[there])

    @contextmanager
    def _scanner(self, allowed: Selector | None) -> Iterator[Any]:
        scanner = self._quantizer.select_InvertedListScanner(
            faiss.METRIC_INNER_PRODUCT, None, False, allowed and allowed.of_faiss, False
        )
        try:
            yield scanner
        finally:
            # FAISS leaves it to us to free it; setting `thisown` breaks the class for all that follow
            _untyped.InvertedListScanner.__swig_destroy__(scanner)


class Selector:
    """The places that a scan may find, as FAISS takes them.

    Parameters
    ----------
    allowed : bool array of shape (n,)
    """

    def __init__(self, allowed: Mask) -> None:
        self._bits = np.packbits(allowed, bitorder="little")  # FAISS reads it where it lies
        self.of_faiss = _untyped.IDSelectorBitmap(self._bits)

    @classmethod
    def of(cls, allowed: Mask | None) -> Selector | None:
        """One for the mask, when there is a mask."""
        return None if allowed is None else cls(allowed)
