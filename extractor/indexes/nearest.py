"""Which places can belong to the answer, when scores are only nearly right."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.indexes import SCORE_DECIMALS
from extractor.indexes.products import Rows, products_here
from extractor.indexes.threads import each, ranges
from extractor.results import Vector

Places: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_SPARSE = 8
"""Picking vectors out pays when less than one in so many is allowed."""

BLOCK = 1024
"""Rows that several queries are compared with at a time: few enough to stay in the cache."""

_ROOM = 1 << 19
"""So many scores are kept before it is looked which of them still matter."""

_LOWEST = np.finfo(np.float32).min
"""Under every score, and over that of a place that is not allowed."""


def slack(dim: int, rounding: float = 0.0) -> float:
    """How far below the k-th best score a place can lie and still belong to the answer.

    Parameters
    ----------
    dim : int
        A float32 sum of `dim` products of unit vectors is off by at most dim * 2**-24, and by a
        little more since their length is only nearly one.
    rounding : float
        The longest difference between a vector and what is kept of it: no score is off by
        more (Cauchy-Schwarz).
    """
    return 2 * ((dim + 4) * 2.0**-24 + rounding) + 10.0**-SCORE_DECIMALS


class Nearest:
    """Takes the scores of some queries block by block, and keeps what can be among their `k` best.

    Safe to share between threads.

    Parameters
    ----------
    queries : int
        How many.
    k : int
    slack : float
        See `slack`.
    """

    def __init__(self, queries: int, k: int, slack: float) -> None:
        self._k, self._slack = k, slack
        self._tops = np.full((min(k, BLOCK), queries), _LOWEST)
        self._floor = np.full(queries, _LOWEST)
        self._kept = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        self._room = _ROOM
        self._lock = threading.Lock()

    def add(self, scores: Vector, places: Places, allowed: Mask | None = None) -> None:
        """Take the scores, of shape (n, queries), of n places; those that are not allowed are passed over."""
        if allowed is not None:
            scores = np.where(allowed[:, None], scores, -np.inf)
        self._raise_floor(scores)
        # much quicker in one dimension than in two
        where, who = np.divmod(np.flatnonzero(scores >= self._floor), len(self._floor))
        with self._lock:
            self._kept.append((who, places[where], scores[where, who]))
            self._room -= len(who)
            if self._room < 0:
                self._sift()

    def found(self) -> list[Places]:
        """For each query the places of the `k` highest scores and of all at most `slack` below them."""
        self._sift()
        ((who, places, _),) = self._kept
        return _parted(places, who, len(self._floor))

    def _raise_floor(self, scores: Vector) -> None:
        """The lowest of the maxima of `k` groups is at most the `k`-th best, and found without sorting."""
        whole = len(scores) // self._k * self._k
        if whole and self._k <= len(self._tops):
            highest = scores[:whole].reshape(whole // self._k, *self._tops.shape).max(axis=0)
            # what another thread writes meanwhile may be lost: then the floor is a little lower
            np.maximum(self._tops, highest, out=self._tops)
            self._floor = np.maximum(self._floor, self._tops.min(axis=0) - np.float32(self._slack))

    def _sift(self) -> None:
        """Let go of what is known by now to be too far below."""
        who, places, scores = map(np.concatenate, zip(*self._kept, strict=True))
        order = np.argsort(who, kind="stable")
        mine = _parted(order, who[order], len(self._floor))
        floors = [_floor(scores[of], self._k, self._slack) for of in mine]
        self._floor = np.maximum(self._floor, np.array(floors, np.float32))
        left = order[scores[order] >= self._floor[who[order]]]
        self._kept = [(who[left], places[left], scores[left])]
        self._room = max(_ROOM, len(left))


def _parted(values: Places, who: Places, count: int) -> list[Places]:
    """The values of each of so many queries; `who`, which rises, says whose they are."""
    ends = np.searchsorted(who, np.arange(count + 1))
    return [values[slice(*pair)] for pair in pairwise(ends)]


def near(scores: Vector, k: int, slack: float) -> Places:
    """Where the `k` highest of some scores are, and all at most `slack` below them."""
    return np.flatnonzero(scores >= _floor(scores, k, slack))


def _floor(scores: Vector, k: int, slack: float) -> np.float32:
    """What is below cannot belong to the `k` best."""
    if k > len(scores):
        return _LOWEST
    highest = np.partition(scores, len(scores) - k)
    return np.float32(highest[len(scores) - k] - np.float32(slack))


def compare(
    queries: Vector, k: int, rows: Rows, *, slack: float, allowed: Mask | None = None
) -> list[Places]:
    """Compare queries with every row by matrix products.

    Parameters
    ----------
    queries : float32 array of shape (q, dim)
    k : int
    rows : float32 or float16 array of shape (n, dim)
        May be mapped from a file.
    slack : float
        See `slack`.
    allowed : bool array of shape (n,), optional
    """
    nearest = Nearest(len(queries), k, slack)
    # one product a row reads them at the memory's full speed, and without threads of BLAS's own
    alone = len(queries) == 1 and rows.dtype == np.float32
    picked = np.flatnonzero(allowed) if allowed is not None and is_sparse(allowed) else None

    def among(part: slice) -> None:
        assert picked is not None
        nearest.add(products_here(rows[picked[part]], queries), picked[part])

    def all_of(part: slice) -> None:
        mask = None if allowed is None else allowed[part]
        scores = np.vecdot(rows[part], queries)[:, None] if alone else products_here(rows[part], queries)
        nearest.add(scores, np.arange(part.start, part.stop), mask)

    if picked is not None:
        each(among, blocks(len(picked)))
    else:
        each(all_of, ranges(len(rows), BLOCK) if alone else blocks(len(rows)))
    return nearest.found()


def blocks(count: int) -> list[slice]:
    """So many places in pieces that stay in the cache."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def is_sparse(allowed: Mask) -> bool:
    """Whether so few places are allowed that picking them out is quicker than reading all."""
    return bool(_SPARSE * np.count_nonzero(allowed) < len(allowed))
