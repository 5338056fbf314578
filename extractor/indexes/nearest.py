"""Which places can belong to the answer, when scores are only nearly right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.indexes import SCORE_DECIMALS
from extractor.results import Vector

Places: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_SPARSE = 8
"""Picking vectors out pays when less than one in so many is allowed."""

_BLOCK = 2048
"""Places that several queries are compared with at a time: few enough to stay in the cache."""

_ROOM = 1 << 19
"""So many scores are kept before it is looked which of them still matter."""

_ALONE = 4
"""Fewer queries are quicker one by one."""


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
        self._floor = np.full(queries, -np.inf, np.float32)
        nothing = np.empty(0, np.int64)
        self._kept: list[tuple[Places, Places, Vector]] = [(nothing, nothing, np.empty(0, np.float32))]
        self._room = _ROOM

    def add(self, scores: Vector, places: Places, allowed: Mask | None = None) -> None:
        """Take the scores, of shape (queries, n), of n places; those that are not allowed are passed over."""
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        if (beyond := scores.shape[1] - self._k) > 0:
            # the k-th best of some places is at most that of all
            self._floor = np.maximum(self._floor, np.partition(scores, beyond, axis=1)[:, beyond])
        who, where = np.nonzero((scores >= (self._floor - self._slack)[:, None]) & (scores > -np.inf))
        self._kept.append((who, places[where], scores[who, where]))
        self._room -= len(who)
        if self._room < 0:
            self._sift()

    def found(self) -> list[Places]:
        """For each query the places of the `k` highest scores and of all at most `slack` below them."""
        self._sift()
        ((who, places, _),) = self._kept
        return _parted(places, who, len(self._floor))

    def _sift(self) -> None:
        """Let go of what is known by now to be too far below."""
        who, places, scores = map(np.concatenate, zip(*self._kept, strict=True))
        order = np.argsort(who, kind="stable")
        mine = _parted(order, who[order], len(self._floor))
        left = np.concatenate([order[:0], *(of[near(scores[of], self._k, self._slack)] for of in mine)])
        self._kept = [(who[left], places[left], scores[left])]
        self._room = max(_ROOM, len(left))


def _parted(values: Places, who: Places, count: int) -> list[Places]:
    """The values of each of so many queries; `who`, which rises, says whose they are."""
    ends = np.searchsorted(who, np.arange(count + 1))
    return [values[slice(*pair)] for pair in pairwise(ends)]


def near(scores: Vector, k: int, slack: float) -> Places:
    """Where the `k` highest of some scores are, and all at most `slack` below them."""
    if k >= len(scores):
        return np.arange(len(scores))
    floor = np.partition(scores, len(scores) - k)[len(scores) - k] - slack
    return np.flatnonzero(scores >= floor)


def compare(
    queries: Vector,
    k: int,
    rows: Callable[[Any], Vector],
    count: int,
    *,
    slack: float,
    allowed: Mask | None = None,
) -> list[Places]:
    """Compare queries with every place by matrix products, block by block.

    Parameters
    ----------
    queries : float32 array of shape (q, dim)
    k : int
    rows : callable
        The float32 vectors at a slice or an array of places.
    count : int
        How many places there are.
    slack : float
        See `slack`.
    allowed : bool array of shape (count,), optional
    """
    nearest = Nearest(len(queries), k, slack)
    if allowed is not None and is_sparse(allowed):
        picked = np.flatnonzero(allowed)
        for start in range(0, len(picked), _BLOCK):
            places = picked[start : start + _BLOCK]
            nearest.add(_products(queries, rows(places)), places)
        return nearest.found()
    block = count if len(queries) < _ALONE else _BLOCK
    for start in range(0, count, max(1, block)):
        part = slice(start, min(start + block, count))
        mask = None if allowed is None else allowed[part]
        nearest.add(_products(queries, rows(part)), np.arange(part.start, part.stop), mask)
    return nearest.found()


def is_sparse(allowed: Mask) -> bool:
    """Whether so few places are allowed that picking them out is quicker than reading all."""
    return bool(_SPARSE * np.count_nonzero(allowed) < len(allowed))


def _products(queries: Vector, units: Vector) -> Vector:
    """The scores, of shape (q, n); for single queries BLAS reads the vectors at the memory's full speed."""
    if 0 < len(queries) < _ALONE:
        return np.stack([units @ query for query in queries])
    scores: Vector = queries @ units.T
    return scores
