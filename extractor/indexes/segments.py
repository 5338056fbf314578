"""A segment: unit vectors that never change, made to be searched in one way.

Segments are pure numbers. They know neither ids nor stores: what stands at a
place of a segment is told by `Segment.numbers`, and what is no longer there,
or filtered out, by the mask that a search brings along. A segment names
candidates, which are then scored from the vectors themselves (`scored`): so
how it holds them, and by which route it compares, never shows in a score.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from extractor.indexes import Hits, Rows, best
from extractor.indexes.files import Writer
from extractor.indexes.nearest import Mask, Places
from extractor.results import Vector

Kind: TypeAlias = Literal["exact", "exact-fp16", "ivf", "hnsw"]


Blocks: TypeAlias = Iterable[tuple[Rows, Vector]]
"""Numbers, of shape (n,), and vectors, of shape (n, dim) and any length but zero.

The numbers rise, also from one block to the next. Some kinds go through the
blocks several times, so this is nothing that is used up by it, as an iterator is.
"""


class Segment(Protocol):
    """Immutable; safe to search from many threads at once."""

    @property
    def kind(self) -> Kind:
        """How it is searched."""
        ...

    @property
    def numbers(self) -> Rows:
        """What stands at each place, rising."""
        ...

    @property
    def recall(self) -> float:
        """The share of the ten nearest that it names, measured when it was built; 1 for exact kinds."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes, mapped files included."""
        ...

    def candidates(self, queries: Vector, k: int, allowed: Mask | None = None) -> list[Places]:
        """For each query the places that may be among its `k` nearest, in no order, each once.

        Parameters
        ----------
        queries : float32 array of shape (q, dim)
            Of length one, see `unit`.
        k : int
            At least 1.
        allowed : bool array of shape (len(numbers),), optional
            The places that may be found; all when there is none.

        Returns
        -------
        list of int64 arrays
            Of an exact kind: the `k` best and all that tie with the last of them (to
            `SCORE_DECIMALS`), and perhaps some more. Of `ivf` and `hnsw`: some more than `k`.
        """
        ...

    def units(self, places: Places) -> Vector | None:
        """The float32 unit vectors at these places, or None where they are not kept."""
        ...

    def write(self, files: Writer) -> dict[str, Any]:
        """Write what it is made of; return what else there is to say of it, for JSON."""
        ...


def scored(query: Vector, numbers: Rows, units: Vector, k: int) -> Hits:
    """Score candidates in float64 and keep the `k` best and all that tie with the last of them.

    Parameters
    ----------
    query : float32 array of shape (dim,)
        Of length one.
    numbers : int64 array of shape (n,)
        What the candidates are called in the answer.
    units : float32 array of shape (n, dim)
        The candidates, of length one.
    k : int
    """
    return best(numbers, units.astype(np.float64) @ query.astype(np.float64), k)
