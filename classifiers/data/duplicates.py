"""Pictures that are nearly the same, so that they are never parted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from classifiers.data.features import Features, Texts
from classifiers.data.splits import FOLDS
from extractor.exploring.duplicates import THRESHOLD, checked_threshold
from extractor.exploring.linking import Sets, equals, link, screen_of
from extractor.exploring.watching import Watch, unwatched
from extractor.results import Vector

LADDER = (THRESHOLD, 0.97, 0.98, 0.99, 0.995)
"""The thresholds that are tried, from the one that finds copies of photos of all kinds on."""

DENSE = 0.5
"""The least density of the groups; with less, a threshold has linked what is only of one kind.

Of the 2,624 solar cells 0.95 makes a chain of 860 (density 0.10), and 0.99,
which is taken, 71 pairs and small groups (0.69).
"""


SAMPLE = 4096
"""Rows that say which thresholds need not be tried on all."""

ENOUGH = FOLDS
"""Groups that a class needs, so that each fold holds one out."""


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Rows of unit length, a tile at a time; one without a direction is like none."""

    X: Vector
    lengths: Vector

    @classmethod
    def of(cls, X: Vector) -> _Units:
        lengths = np.linalg.norm(X, axis=1, keepdims=True)
        return cls(X, np.where(lengths > 0, lengths, 1))

    def __len__(self) -> int:
        return len(self.X)

    def tile(self, start: int, count: int) -> Vector:
        part = slice(start, start + count)
        found: Vector = self.X[part] / self.lengths[part]
        return found


def grouped(features: Features, threshold: float | None = None, watch: Watch = unwatched) -> Features:
    """Join pictures that are nearly the same to one group, with the groups that are there.

    Without a `threshold`, the lowest of `LADDER` that makes dense groups and
    leaves every class `ENOUGH` of them: photos of all kinds and a series of one
    kind differ in what makes two of them nearly the same. Where even the
    highest does not, the classes that are too few groups stay as they were.

    Parameters
    ----------
    features : Features
    threshold : float, optional
        A cosine; 1 for exact copies only.
    watch : Watch
        Is shown the tiles of pairs.

    Raises
    ------
    InvalidArgument
        When the threshold is not over 0 and at most 1.
    """
    if threshold is not None and checked_threshold(threshold) == 1:
        return features
    _, distinct, which = np.unique(features.digests, return_index=True, return_inverse=True)
    units = _Units.of(features.X[distinct])
    ladder = _ladder(units) if threshold is None else (threshold,)
    for linked in link(units, ladder, watch, screen_of(units)):
        groups = _joined(features, distinct[linked.sets.every_root()][which])
        short = set() if threshold is not None else _short(features, groups)
        dense = threshold is not None or linked.density >= DENSE
        if dense and (not short or linked.threshold == ladder[-1]):
            groups = np.where(_are_of(features, short), features.groups, groups)
            return replace(features, groups=groups, alike=linked.threshold)
    return features


def _ladder(units: _Units) -> Sequence[float]:
    """The thresholds to try: of many rows only those that make dense groups of some of them."""
    if len(units) <= SAMPLE:
        return LADDER
    some = np.random.default_rng(0).choice(len(units), SAMPLE, replace=False)
    sample = link(_Units(units.X[some], units.lengths[some]), LADDER)
    return [linked.threshold for linked in sample if linked.density >= DENSE] or LADDER[-1:]


def names_of(roots: NDArray[np.int64], digests: Texts) -> Texts:
    """The name of the group of each row, whatever the order of the rows: its first digest by the alphabet."""
    order = np.argsort(digests, kind="stable")
    _, first, which = np.unique(roots[order], return_index=True, return_inverse=True)
    names = np.empty_like(digests)
    names[order] = digests[order][first][which]
    return names


def _joined(features: Features, alike: NDArray[np.int64]) -> Texts:
    """The groups that are there and those of pictures alike, as one; `alike` has a row for each."""
    sets = Sets(len(alike))
    sets.join(np.arange(len(alike)), alike)
    sets.join(*equals(features.groups))
    return names_of(sets.every_root(), features.digests)


def _short(features: Features, groups: Texts) -> set[str]:
    """The classes that are left too few groups."""
    labels, rows = features.members()
    before, after = (groups_of(labels, each[rows].tolist()) for each in (features.groups, groups))
    return {label for label, count in before.items() if after[label] < min(count, ENOUGH)}


def _are_of(features: Features, classes: set[str]) -> NDArray[np.bool_]:
    labels, rows = features.members()
    found = np.zeros(len(features.images), dtype=bool)
    found[rows[[label in classes for label in labels]]] = True
    return found


def groups_of(labels: Sequence[str], groups: Sequence[str]) -> Counter[str]:
    """In how many groups each class is."""
    return Counter(label for label, _ in set(zip(labels, groups, strict=True)))
