"""How much of what an exact search finds is found by a segment, measured on its own vectors."""

from __future__ import annotations

import numpy as np

from extractor.collections.generations import Part, Snapshot
from extractor.collections.searching import ReadUnits, search
from extractor.collections.store import Generation
from extractor.indexes.segments import Blocks
from extractor.results import Vector

K = 10

_TIE = 2e-6  # scores of the two ways differ by as much


def recall(part: Part, queries: Vector, blocks: Blocks, read: ReadUnits) -> float:
    """The share of the ten nearest neighbours that a search of a part finds, from 0 to 1.

    Equal scores count alike: it does not matter which of several equal
    neighbours is found.

    Parameters
    ----------
    part : Part
    queries : float32 array of shape (q, dim)
        Some of its unit vectors.
    blocks : iterable of (numbers, unit vectors)
        All that are alive, compared with each query here.
    read : callable
        See `search`.
    """
    best = np.full((len(queries), K), -np.inf, np.float32)
    for _, units in blocks:
        both = np.concatenate([best, queries @ units.T], axis=1)
        best = np.partition(both, -K, axis=1)[:, -K:]
    alone = Snapshot(Generation(), (part,), Snapshot.empty(queries.shape[1]).tail)
    found = search(alone, queries, K, read)
    good = sum(
        np.count_nonzero(hits.scores[:K] >= floor - _TIE)
        for hits, floor in zip(found, best.min(axis=1), strict=True)
    )
    asked = len(queries) * min(K, len(part))
    return float(good) / asked if asked else 1.0
