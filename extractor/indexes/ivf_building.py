"""How an inverted file comes to be: centroids are learned, and each vector goes to the nearest one's list."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from extractor.indexes import Rows
from extractor.indexes.arriving import numbered
from extractor.indexes.codes import Bytes, Codec
from extractor.indexes.nearest import Places
from extractor.indexes.products import products
from extractor.indexes.sampling import Judge
from extractor.indexes.segments import Blocks
from extractor.results import Vector

_ROUNDS = 8

_untyped: Any = faiss


class Lists(NamedTuple):
    """The parts of an inverted file.

    Attributes
    ----------
    centroids : float32 array of shape (lists, dim)
        Of length one.
    bounds : int64 array of shape (lists + 1,)
        Where each list begins, and the last one ends.
    places : int64 array of shape (n,)
        The vectors' places, list after list.
    codes : uint8 array of shape (n, dim)
        The vectors in the same order.
    ranges : float32 array of shape (2 * dim,)
        See `Codec`.
    """

    centroids: Vector
    bounds: NDArray[np.int64]
    places: Places
    codes: Bytes
    ranges: Vector


class Learned(NamedTuple):
    """What a sample teaches: the centroids, and the range of each value."""

    centroids: Vector
    codec: Codec

    @classmethod
    def of(cls, sample: Vector, lists: int) -> Learned:
        """Learn from unit vectors of shape (n, dim), at least `lists` of them."""
        means = _untyped.Kmeans(
            sample.shape[1],
            lists,
            niter=_ROUNDS,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=len(sample),
        )
        means.train(sample)
        return cls(means.centroids, Codec.train(sample, "sq8"))


def fill(blocks: Blocks, count: int, learned: Learned, judge: Judge) -> tuple[Rows, Lists]:
    """Go through the blocks twice: to find each vector's list, and to write it there.

    Returns
    -------
    numbers : int64 array of shape (count,)
    lists : Lists
    """
    centroids, codec = learned
    numbers, lists = np.empty(count, np.int64), np.empty(count, np.int32)
    for places, units in numbered(blocks, codec.dim, count, numbers):
        lists[places] = np.argmax(products(units, centroids), axis=1)
        judge.see(places, units)
    order = np.argsort(lists, kind="stable")
    bounds = np.searchsorted(lists[order], np.arange(len(centroids) + 1))
    codes = np.empty((count, codec.size), np.uint8)
    positions = np.empty(count, np.int64)
    positions[order] = np.arange(count)
    for places, units in numbered(blocks, codec.dim, count, numbers):
        codes[positions[places]] = codec.encode(units)
    return numbers, Lists(centroids, bounds, order, codes, codec.ranges)
