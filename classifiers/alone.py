"""A linear head's answer to one image, for little more than one matrix product.

After an embedding the processor's caches hold nothing of the head any more:
what counts is how much is read, and in how many steps. So everything that a
row is multiplied by lies in one matrix, and the few numbers that come of it
are left to plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from operator import add

import numpy as np
from numpy.typing import NDArray

from classifiers.distribution.gaussian import Gaussian
from classifiers.layers import Linear, Model, Standardise
from extractor.results import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """What `Model.probabilities` and `Gaussian.distances` compute, of a single row.

    Attributes
    ----------
    origin : float32 array of shape (dim,)
        Taken from the row first.
    products : float32 array of shape (rank + centres + classes, dim)
        Of the Gaussian, and the weights of the classes by scale and temperature.
    rank : int
    noise : float
    squares : list of float
        To add for each centre.
    bias : list of float
        To add for each class.
    """

    origin: Vector
    products: Vector
    rank: int
    noise: float
    squares: list[float]
    bias: list[float]

    @classmethod
    def of(cls, model: Model, gaussian: Gaussian) -> Alone | None:
        """None for a model that is no matrix, or gives an image several labels."""
        scaling, layer = model.scaling, model.layer
        if model.multi_label or not (isinstance(scaling, Standardise) and isinstance(layer, Linear)):
            return None
        weights = layer.weights.astype(np.float64) / scaling.scale / model.temperature
        origin = gaussian.origin.astype(np.float64) - scaling.mean
        bias: NDArray[np.float64] = layer.bias / model.temperature + weights @ origin
        return cls(
            gaussian.origin,
            np.concatenate([gaussian.products, weights]).astype(np.float32),
            len(gaussian.basis),
            gaussian.noise,
            gaussian.squares.tolist(),
            bias.tolist(),
        )

    def __call__(self, row: Vector) -> tuple[list[float], float] | None:
        """The probability of each class for an embedding of shape (dim,), and its distance.

        None where it has values that are not finite.
        """
        centred = row - self.origin
        length = float(centred @ centred)
        if not isfinite(length):
            return None
        products = self.products @ centred
        along, rest = products[: self.rank], products[self.rank :].tolist()
        own = length / self.noise - float(along @ along)
        distance = max(own + min(map(add, rest, self.squares)), 0.0) / len(row)
        return _softmax(list(map(add, rest[len(self.squares) :], self.bias))), distance


def _softmax(logits: list[float]) -> list[float]:
    highest = max(logits)
    powers = [exp(logit - highest) for logit in logits]
    total = sum(powers)
    return [power / total for power in powers]
