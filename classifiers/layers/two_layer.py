"""A perceptron with one hidden layer: the `Dense(256)` head of the articles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.arrays import Arrays, shaped
from extractor.results import Vector


@dataclass(frozen=True, slots=True, eq=False)
class TwoLayer:
    """Scores max(X @ hidden.T + hidden_bias, 0) @ weights.T + bias.

    Attributes
    ----------
    hidden : float32 array of shape (width, dim)
    hidden_bias : float32 array of shape (width,)
    weights : float32 array of shape (classes, width)
    bias : float32 array of shape (classes,)
    """

    name: ClassVar[str] = "two-layer"
    hidden: Vector
    hidden_bias: Vector
    weights: Vector
    bias: Vector

    @classmethod
    def of(cls, arrays: Arrays, dim: int, classes: int) -> TwoLayer:
        """Take the layer out of a head's arrays; ValueError when it is not there."""
        hidden = shaped(arrays, "hidden", (None, dim))
        return cls(
            hidden,
            shaped(arrays, "hidden_bias", (len(hidden),)),
            shaped(arrays, "weights", (classes, len(hidden))),
            shaped(arrays, "bias", (classes,)),
        )

    def arrays(self) -> Arrays:
        """What is stored of it."""
        return {
            "hidden": self.hidden,
            "hidden_bias": self.hidden_bias,
            "weights": self.weights,
            "bias": self.bias,
        }

    def scores(self, X: Vector) -> NDArray[np.float64]:
        """The scores of scaled rows of shape (n, dim): shape (n, classes)."""
        hidden: Vector = np.maximum(X @ self.hidden.T + self.hidden_bias, 0)
        return (hidden @ self.weights.T).astype(np.float64) + self.bias
