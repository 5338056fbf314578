"""Searching one snapshot: each part names its candidates, and all are scored in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.collections.generations import Numbers, Part, Snapshot
from extractor.indexes import Hits, best
from extractor.indexes.nearest import Places
from extractor.results import Vector

ReadUnits: TypeAlias = Callable[[Numbers], Vector]
"""Gives the unit vectors of numbers that are in the store."""

FEW = 1024
"""Of a kind that is not exact, so many allowed places are all compared."""

EXACT = ("exact", "exact-fp16")

_BLOCK = 1024


def search(
    snapshot: Snapshot, queries: Vector, k: int, read: ReadUnits, allowed: Numbers | None = None
) -> list[Hits]:
    """For each query the numbers of the `k` best, and of all that tie with the last of them.

    Parameters
    ----------
    snapshot : Snapshot
    queries : float32 array of shape (q, dim)
        Of length one.
    k : int
        At least 1.
    read : callable
        For what a segment does not keep in full.
    allowed : int64 array, optional
        The numbers that may be found, rising; all when there is none.
    """
    parts = [part for part in (*snapshot.parts, snapshot.tail.part) if len(part)]
    found = [_search(part, queries, k, read, allowed) for part in parts]
    return [_merged([hits[number] for hits in found], k) for number in range(len(queries))]


def _search(part: Part, queries: Vector, k: int, read: ReadUnits, allowed: Numbers | None) -> list[Hits]:
    candidates = [np.sort(places) for places in _candidates(part, queries, k, allowed)]
    scores = _scores(part, queries, candidates, read)
    return [
        best(part.segment.numbers[places], found, k) for places, found in zip(candidates, scores, strict=True)
    ]


def _candidates(part: Part, queries: Vector, k: int, allowed: Numbers | None) -> list[Places]:
    if allowed is None and len(part) > k:
        return part.segment.candidates(queries, k, part.alive)
    places = part.among(part.segment.numbers if allowed is None else allowed)
    few = 0 if part.segment.kind in EXACT else FEW
    if len(places) <= max(k, few):
        return [places] * len(queries)
    mask = np.zeros(len(part.segment.numbers), np.bool_)
    mask[places] = True
    return part.segment.candidates(queries, k, mask)


def _scores(
    part: Part, queries: Vector, candidates: list[Places], read: ReadUnits
) -> list[NDArray[np.float64]]:
    """Cosines in float64, a block of places at a time, for which each vector is read once."""
    wide = queries.astype(np.float64)
    scores = [np.empty(len(places)) for places in candidates]
    wanted = np.unique(np.concatenate([*candidates, np.empty(0, np.int64)]))
    for start in range(0, len(wanted), _BLOCK):
        block = wanted[start : start + _BLOCK]
        units = _units(part, block, read).astype(np.float64)
        for query, places, found in zip(wide, candidates, scores, strict=True):
            here = slice(*np.searchsorted(places, (block[0], block[-1] + 1)))
            chosen = np.searchsorted(block, places[here])
            # one product a row: BLAS would wake threads of its own, which searches then wait for
            found[here] = np.vecdot(units if len(chosen) == len(block) else units[chosen], query)
    return scores


def _units(part: Part, places: Places, read: ReadUnits) -> Vector:
    units = part.segment.units(places)
    return read(part.segment.numbers[places]) if units is None else units


def _merged(found: Iterable[Hits], k: int) -> Hits:
    rows = np.concatenate([np.empty(0, np.int64), *(hits.rows for hits in found)])
    scores = np.concatenate([np.empty(0), *(hits.scores for hits in found)])
    return best(rows, scores, k)
