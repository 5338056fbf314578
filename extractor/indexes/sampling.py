"""Some of the vectors on their way into a segment: to learn from, and to measure it with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from extractor.indexes.arriving import arriving
from extractor.indexes.nearest import Nearest, Places
from extractor.indexes.products import products
from extractor.indexes.segments import Blocks
from extractor.results import Vector

NEIGHBOURS = 10
"""Recall is of so many."""

_SEED = 0


class Sample(NamedTuple):
    """Some vectors of a segment.

    Attributes
    ----------
    places : int64 array of shape (n,)
        Rising.
    units : float32 array of shape (n, dim)
    """

    places: Places
    units: Vector


def draw(blocks: Blocks, dim: int, count: int, size: int) -> Sample:
    """Take `size` of the `count` vectors at random, always the same ones."""
    places = np.sort(np.random.default_rng(_SEED).choice(count, min(size, count), replace=False))
    units = np.empty((len(places), dim), np.float32)
    for arrived in arriving(blocks, dim, count):
        here = slice(*np.searchsorted(places, (arrived.places.start, arrived.places.stop)))
        units[here] = arrived.units[places[here] - arrived.places.start]
    return Sample(places, units)


def halves(sample: Sample, last: int) -> tuple[Sample, Sample]:
    """Part a sample in two at random, `last` vectors in the second: what one taught is asked of the other."""
    order = np.random.default_rng(_SEED).permutation(len(sample.places))
    one, other = (np.sort(part) for part in (order[last:], order[:last]))
    return Sample(sample.places[one], sample.units[one]), Sample(sample.places[other], sample.units[other])


class Judge:
    """Finds the true neighbours of some vectors, while all pass by.

    Parameters
    ----------
    sample : Sample
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._nearest = Nearest(len(sample.places), NEIGHBOURS + 1, 0.0)

    def see(self, places: slice, units: Vector) -> None:
        """Take the next vectors."""
        self._nearest.add(products(units, self.sample.units), np.arange(places.start, places.stop))

    def neighbours(self) -> list[Places]:
        """The places of the nearest of each, but for itself."""
        return [
            found[found != own] for found, own in zip(self._nearest.found(), self.sample.places, strict=True)
        ]


def share(named: Sequence[Places], neighbours: Sequence[Places]) -> float:
    """The mean share of ten true neighbours that were named; of those that tie for a rank any will do."""
    shares = [
        min(1.0, len(np.intersect1d(found, true)) / max(1, min(NEIGHBOURS, len(true))))
        for found, true in zip(named, neighbours, strict=True)
    ]
    return float(np.mean(shares)) if shares else 1.0


def least_effort(measure: Callable[[int], float], efforts: Sequence[int], wanted: float) -> tuple[int, float]:
    """The first of the efforts, or the last, with which `measure` reaches what is wanted; what it gave."""
    for effort in efforts:
        reached = measure(effort)
        if reached >= wanted:
            break
    return effort, reached


def rising(most: int) -> list[int]:
    """Efforts from 1 to `most`, each about a quarter more than the one before."""
    efforts = [1]
    while efforts[-1] < most:
        efforts.append(min(most, efforts[-1] + max(1, efforts[-1] // 4)))
    return efforts


def spare(k: int) -> int:
    """How many candidates to name for `k` neighbours, when their order is only nearly right."""
    return 4 * k + 32
