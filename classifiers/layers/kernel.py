"""A radial basis function machine: rows are scored by their closeness to support vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.arrays import Arrays, shaped
from extractor.results import Vector

_BLOCK_VALUES = 1 << 24  # of the kernel matrix at a time: 64 MB


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Scores exp(-gamma |x - support|**2) @ coefficients.T + bias, each class against the rest.

    Attributes
    ----------
    support : float32 array of shape (m, dim)
        Scaled rows.
    coefficients : float32 array of shape (classes, m)
    bias : float32 array of shape (classes,)
    gamma : float
        Above zero.
    """

    name: ClassVar[str] = "kernel"
    support: Vector
    coefficients: Vector
    bias: Vector
    gamma: float

    @classmethod
    def of(cls, arrays: Arrays, dim: int, classes: int) -> Kernel:
        """Take the layer out of a head's arrays; ValueError when it is not there."""
        support = shaped(arrays, "support", (None, dim))
        (gamma,) = shaped(arrays, "gamma", (1,)).tolist()
        if gamma <= 0:
            raise ValueError(f"gamma must be above zero, not {gamma}")
        coefficients = shaped(arrays, "coefficients", (classes, len(support)))
        return cls(support, coefficients, shaped(arrays, "bias", (classes,)), gamma)

    def arrays(self) -> Arrays:
        """What is stored of it."""
        gamma = np.array([self.gamma], np.float32)
        return {"support": self.support, "coefficients": self.coefficients, "bias": self.bias, "gamma": gamma}

    def scores(self, X: Vector) -> NDArray[np.float64]:
        """The scores of scaled rows of shape (n, dim): shape (n, classes)."""
        step = max(_BLOCK_VALUES // max(len(self.support), 1), 1)
        blocks = [
            rbf(X[start : start + step], self.support, self.gamma) @ self.coefficients.T
            for start in range(0, len(X), step)
        ]
        return np.concatenate([np.empty((0, len(self.bias))), *blocks]) + self.bias


def rbf(X: Vector, Y: Vector, gamma: float) -> Vector:
    """exp(-gamma |x - y|**2) for each pair of rows: shape (len(X), len(Y))."""
    squares = [np.einsum("ij,ij->i", rows, rows) for rows in (X, Y)]
    distances = X @ Y.T
    distances *= -2
    distances += squares[0][:, None]
    distances += squares[1]
    np.maximum(distances, 0, out=distances)  # of equal rows it can be a little below
    distances *= -gamma
    closeness: Vector = np.exp(distances, out=distances)
    return closeness
