"""The nearest labelled rows vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.arrays import Arrays, shaped
from classifiers.layers.scaling import Normalise
from extractor.results import Vector

SHARPNESS = 1 / 0.07
"""A vote weighs exp(cosine * sharpness): Wu et al., Unsupervised Feature Learning (2018), as DINO has it."""

NO_VOTE = 1e-3
"""Of a neighbour's weight, so that a class without a vote has a score."""

_BLOCK_VALUES = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Scores log(sum of exp(cosine / 0.07) over those of the k nearest rows that are of the class).

    Attributes
    ----------
    rows : float32 array of shape (m, dim)
        Scaled rows, of unit length.
    labels : int array of shape (m,)
        The class of each row, by its place.
    classes : int
    k : int
    """

    name: ClassVar[str] = "neighbours"
    rows: Vector
    labels: NDArray[np.int64]
    classes: int
    k: int

    @classmethod
    def of(cls, arrays: Arrays, dim: int, classes: int) -> Neighbours:
        """Take the layer out of a head's arrays; ValueError when it is not there."""
        rows = shaped(arrays, "rows", (None, dim))
        labels = shaped(arrays, "labels", (len(rows),)).astype(np.int64)
        (k,) = shaped(arrays, "k", (1,)).astype(int).tolist()
        if not 1 <= k <= len(rows):
            raise ValueError(f"k must be 1 to {len(rows)}, the number of rows, not {k}")
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"the labels of the rows must be 0 to {classes - 1}")
        return cls(rows, labels, classes, k)

    def arrays(self) -> Arrays:
        """What is stored of it."""
        return {"rows": self.rows, "labels": self.labels, "k": np.array([self.k])}

    def scores(self, X: Vector) -> NDArray[np.float64]:
        """The scores of scaled rows of shape (n, dim): shape (n, classes)."""
        step = max(_BLOCK_VALUES // len(self.rows), 1)
        blocks = [self._scores(X[start : start + step]) for start in range(0, len(X), step)]
        return np.concatenate([np.empty((0, self.classes)), *blocks])

    def _scores(self, X: Vector) -> NDArray[np.float64]:
        cosines = Normalise()(X) @ self.rows.T
        nearest = np.argpartition(-cosines, self.k - 1, axis=1)[:, : self.k]
        weights = np.exp((np.take_along_axis(cosines, nearest, 1).astype(np.float64) - 1) * SHARPNESS)
        votes = np.zeros((len(X), self.classes))
        np.add.at(votes, (np.arange(len(X))[:, None], self.labels[nearest]), weights)
        scores: NDArray[np.float64] = np.log(votes + NO_VOTE * weights.max(axis=1, keepdims=True))
        return scores
