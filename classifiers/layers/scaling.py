"""The first step of a head: embeddings to numbers of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.arrays import Arrays, finite, shaped
from extractor.results import Vector

LEAST_DEVIATION = 0.03
"""Of the median deviation of the columns that vary."""

_ROUNDING = 1e-6  # of its mean, by which float32 alone makes a column vary
_BLOCK = 8192  # rows that are squared at a time


@dataclass(frozen=True, slots=True, eq=False)
class Standardise:
    """Zero mean and unit variance in each column.

    Attributes
    ----------
    mean, scale : float32 array of shape (dim,)
    """

    name: ClassVar[str] = "standardise"
    mean: Vector
    scale: Vector

    @classmethod
    def fit(cls, X: Vector, weights: NDArray[np.float64] | None = None) -> Standardise:
        """Measure the columns of `X`, of shape (n, dim); rows may have weights, of shape (n,).

        A column that hardly varies says nothing and is not blown up: no
        deviation counts for less than `LEAST_DEVIATION` of the median one. The
        median, since the columns of a table may be of very different units.
        """
        share = np.ones(len(X)) if weights is None else weights.astype(np.float64)
        share = (share / share.sum()).astype(np.float32)  # as a product, this needs no copy in float64
        mean: Vector = share @ X
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(X), _BLOCK)]
        deviation = np.sqrt(sum(share[part] @ np.square(X[part] - mean) for part in blocks))
        varying = deviation[deviation > _ROUNDING * np.abs(mean)]
        least = LEAST_DEVIATION * np.median(varying) if varying.size else 1.0
        return cls(mean, np.maximum(deviation, least).astype(np.float32))

    @classmethod
    def of(cls, arrays: Arrays, dim: int) -> Standardise:
        """Take the scaling out of a head's arrays; ValueError when it is not there."""
        mean, scale = (shaped(arrays, f"scaling.{part}", (dim,)) for part in ("mean", "scale"))
        if not (scale > 0).all():
            raise ValueError("scaling.scale has values that are not above zero")
        return cls(mean, scale)

    def arrays(self) -> Arrays:
        """What is stored of it."""
        return {"scaling.mean": self.mean, "scaling.scale": self.scale}

    def __call__(self, X: Vector) -> Vector:
        """Scale rows of shape (n, dim)."""
        scaled: Vector = X - self.mean
        scaled /= self.scale  # in place: a matrix may be a quarter of the memory
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class Normalise:
    """Unit length of each row."""

    name: ClassVar[str] = "normalise"

    @classmethod
    def of(cls, arrays: Arrays, dim: int) -> Normalise:  # noqa: ARG003 - nothing is stored
        """Nothing is stored."""
        return cls()

    def arrays(self) -> Arrays:
        """Nothing."""
        return {}

    def __call__(self, X: Vector) -> Vector:
        """Scale rows of shape (n, dim); a row of zeros stays."""
        length = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))[:, None]
        return finite(np.divide(X, np.where(length > 0, length, 1), dtype=np.float64).astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Embeddings as the backbone gave them: what its own classifier takes."""

    name: ClassVar[str] = "plain"

    @classmethod
    def of(cls, arrays: Arrays, dim: int) -> Plain:  # noqa: ARG003 - nothing is stored
        """Nothing is stored."""
        return cls()

    def arrays(self) -> Arrays:
        """Nothing."""
        return {}

    def __call__(self, X: Vector) -> Vector:
        """Return the rows as they are."""
        return X


Scaling: TypeAlias = Standardise | Normalise | Plain

SCALINGS: dict[str, type[Standardise] | type[Normalise] | type[Plain]] = {
    scaling.name: scaling for scaling in (Standardise, Normalise, Plain)
}
