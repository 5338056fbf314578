"""Vectors on their way into a segment: checked, scaled to length one, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from extractor.errors import InvalidArgument
from extractor.indexes import Rows, unit
from extractor.indexes.segments import Blocks
from extractor.results import Vector


class Arrived(NamedTuple):
    """Some vectors, and the places that they take in the segment.

    Attributes
    ----------
    places : slice
    numbers : int64 array of shape (n,)
    units : float32 array of shape (n, dim)
        Of length one.
    """

    places: slice
    numbers: Rows
    units: Vector


def arriving(blocks: Blocks, dim: int, count: int) -> Iterator[Arrived]:
    """Go through the blocks once.

    Raises
    ------
    InvalidArgument
        When a vector has another width or no direction, the numbers do not
        rise, or there are more or fewer vectors than `count`.
    """
    place, last = 0, -1
    for given, vectors in blocks:
        numbers = np.asarray(given, np.int64)
        if len(numbers) != len(vectors):
            raise InvalidArgument(f"{len(numbers)} numbers came with {len(vectors)} vectors")
        if not len(numbers):
            continue
        if numbers[0] <= last or (np.diff(numbers) <= 0).any():
            raise InvalidArgument(f"the numbers of vectors must rise; they do not after {last}")
        if place + len(numbers) > count:
            raise InvalidArgument(f"more than the {count} vectors came that were announced")
        yield Arrived(slice(place, place + len(numbers)), numbers, unit(vectors, dim))
        place, last = place + len(numbers), int(numbers[-1])
    if place != count:
        raise InvalidArgument(f"{place} vectors came instead of {count}")


def numbered(blocks: Blocks, dim: int, count: int, numbers: Rows) -> Iterator[tuple[slice, Vector]]:
    """Like `arriving`; the numbers are written into `numbers`, of shape (count,)."""
    for arrived in arriving(blocks, dim, count):
        numbers[arrived.places] = arrived.numbers
        yield arrived.places, arrived.units
