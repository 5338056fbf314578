"""One matrix and a bias: logistic regression, linear support vector machines, ridge, nearest means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.layers.arrays import Arrays, shaped
from extractor.results import Vector


def for_both(part: ArrayLike) -> Vector:
    """Of what scores the second of two classes, shape (1, ...), what scores each: shape (2, ...)."""
    half = np.asarray(part) / 2
    return np.concatenate([-half, half]).astype(np.float32)


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
        parts = [np.atleast_2d(np.asarray(weights)), np.atleast_1d(np.asarray(bias))]
        if len(parts[0]) == 1:
            parts = [for_both(part) for part in parts]
        return cls(*(np.ascontiguousarray(part, np.float32) for part in parts))

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
