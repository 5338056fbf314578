"""One matrix and a bias: logistic regression, linear support vector machines, ridge, nearest means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.layers.arrays import Arrays, shaped
from extractor.results import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Scores X @ weights.T + bias.

    Attributes
    ----------
    weights : float32 array of shape (classes, dim)
    bias : float32 array of shape (classes,)
    """

    name: ClassVar[str] = "linear"
    weights: Vector
    bias: Vector

    @classmethod
    def of_scikit_learn(cls, weights: ArrayLike, bias: ArrayLike) -> Linear:
        """Of a linear classifier's `coef_` and `intercept_`.

        For two classes it has one row, which scores the second; here each has
        its own, half of it, with the difference that scikit-learn means.
        """
        rows, offsets = (
            np.atleast_2d(np.asarray(weights, np.float64)),
            np.atleast_1d(np.asarray(bias, np.float64)),
        )
        if len(rows) == 1:
            rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
        return cls(rows.astype(np.float32), offsets.astype(np.float32))

    @classmethod
    def of(cls, arrays: Arrays, dim: int, classes: int) -> Linear:
        """Take the layer out of a head's arrays; ValueError when it is not there."""
        return cls(shaped(arrays, "weights", (classes, dim)), shaped(arrays, "bias", (classes,)))

    def arrays(self) -> Arrays:
        """What is stored of it."""
        return {"weights": self.weights, "bias": self.bias}

    def scores(self, X: Vector) -> NDArray[np.float64]:
        """The scores of scaled rows of shape (n, dim): shape (n, classes)."""
        return (X @ self.weights.T).astype(np.float64) + self.bias
