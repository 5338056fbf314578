"""What a head keeps of the rows it was fitted on: enough to add a class, find unknowns and see drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.arrays import Arrays, finite
from extractor.results import Vector

if TYPE_CHECKING:
    from classifiers.data.targets import Labelled
    from classifiers.kinds import Targets

KEPT_ROWS = 1000
"""Rows that are kept as they are, 5 MB at a width of 1280; of more, as many of each class."""

_BLOCK = 8192
_PREFIX = "statistics."


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Of the embeddings that a head was fitted on, not scaled.

    A row with several labels belongs to no single class: there is then one
    centre, of all rows.

    Attributes
    ----------
    counts : int64 array of shape (classes,)
        Rows of each class.
    weights : float64 array of shape (centres,)
        What the rows about each centre weigh together.
    centres : float32 array of shape (centres, dim)
        The class means, in the order of the classes.
    scatter : float32 array of shape (dim, dim)
        The weighted sum of outer products of the rows about their centres. With
        the centres it gives X'X, and loses less of float32 than X'X would.
    rows : float32 array of shape (m, dim)
        A sample, at most `KEPT_ROWS` and one of each class.
    labels : int64 array of shape (m,), or bool of shape (m, classes)
        The targets of the sample.
    """

    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    centres: Vector
    scatter: Vector
    rows: Vector
    labels: Targets

    @classmethod
    def of(cls, labelled: Labelled, seed: int = 0) -> Statistics:
        """Measure labelled rows; which of them are kept depends on the rows' order and the seed alone."""
        about = np.zeros(len(labelled.X), np.int64) if labelled.multi_label else labelled.y
        centres, weights = class_means(labelled.X, about, labelled.weights)
        scatter = scatter_about(labelled.X, centres, about, labelled.weights)
        kept = _sample(labelled, seed)
        counts = _counts(labelled.y, len(labelled.classes))
        return cls(counts, weights, centres, scatter, labelled.X[kept], labelled.y[kept])

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.labels.ndim == 2)

    @property
    def sample_weights(self) -> NDArray[np.float64]:
        """What each kept row stands for, so that the sample weighs what all rows do: shape (m,)."""
        if self.multi_label:
            return np.full(len(self.rows), self.weights.sum() / len(self.rows))
        kept = np.bincount(self.labels.astype(int), minlength=len(self.weights))
        share: NDArray[np.float64] = (self.weights / np.maximum(kept, 1))[self.labels.astype(int)]
        return share

    def mean(self) -> NDArray[np.float64]:
        """Of all rows: shape (dim,)."""
        found: NDArray[np.float64] = self.weights @ self.centres.astype(np.float64) / self.weights.sum()
        return found

    def moments(self) -> NDArray[np.float64]:
        """The weighted sum of outer products of all rows about their mean: shape (dim, dim)."""
        between = self.centres.astype(np.float64) - self.mean()
        found: NDArray[np.float64] = self.scatter + (between * self.weights[:, None]).T @ between
        return found

    def arrays(self) -> Arrays:
        """What is stored of it."""
        labels = self.labels.astype(np.uint8) if self.multi_label else self.labels
        named = {field: getattr(self, field) for field in self.__dataclass_fields__} | {"labels": labels}
        return {_PREFIX + name: array for name, array in named.items()}

    @classmethod
    def of_arrays(cls, arrays: Arrays, dim: int, classes: int) -> Statistics | None:
        """Take it out of a head's arrays; None when none was kept, ValueError when it does not fit."""
        if _PREFIX + "counts" not in arrays:
            return None
        parts: dict[str, NDArray[Any]] = {
            name: finite(arrays[_PREFIX + name], name) for name in cls.__dataclass_fields__
        }
        if parts["labels"].ndim == 2:
            parts["labels"] = parts["labels"].astype(bool)
        found = cls(**parts)
        shapes = {
            "counts": (classes,),
            "centres": (len(found.weights), dim),
            "scatter": (dim, dim),
            "rows": (len(found.labels), dim),
        }
        for name, shape in shapes.items():
            if parts[name].shape != shape:
                raise ValueError(f"the array {_PREFIX}{name} has the shape {parts[name].shape}, not {shape}")
        return found


def class_means(
    X: Vector, places: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[Vector, NDArray[np.float64]]:
    """The weighted mean of the rows at each place, of shape (places, dim), and what they weigh together."""
    total = np.bincount(places, weights).astype(np.float64)
    sums = np.zeros((len(total), X.shape[1]))
    for start in range(0, len(X), _BLOCK):
        part = slice(start, start + _BLOCK)
        member = (places[part] == np.arange(len(total))[:, None]) * weights[part]
        sums += member.astype(np.float32) @ X[part]
    means = sums / np.where(total > 0, total, 1)[:, None]
    return means.astype(np.float32), total


def scatter_about(
    X: Vector, centres: Vector, places: NDArray[np.int64], weights: NDArray[np.float64]
) -> Vector:
    """The weighted sum of outer products of rows about the centre at the place of each: shape (dim, dim)."""
    total = np.zeros((X.shape[1], X.shape[1]), np.float32)
    for start in range(0, len(X), _BLOCK):
        part = slice(start, start + _BLOCK)
        apart = X[part] - centres[places[part]]
        apart *= np.sqrt(weights[part]).astype(np.float32)[:, None]
        total += apart.T @ apart
    return total


def _counts(y: Targets, classes: int) -> NDArray[np.int64]:
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=classes)
    return np.asarray(counts, np.int64)


def _sample(labelled: Labelled, seed: int) -> NDArray[np.intp]:
    """All rows when they are few, else as many of each class."""
    if len(labelled.X) <= KEPT_ROWS:
        return np.arange(len(labelled.X))
    shuffled = np.random.default_rng(seed).permutation(len(labelled.X))
    each = max(KEPT_ROWS // len(labelled.classes), 1)
    strata = labelled.strata[shuffled]
    kept = [shuffled[strata == place][:each] for place in range(len(labelled.classes))]
    return np.sort(np.concatenate(kept))
