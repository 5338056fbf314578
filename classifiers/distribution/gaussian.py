"""Class means with one covariance, had of few rows and asked in microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from classifiers.distribution.statistics import class_means, scatter_about
from extractor.results import Vector

MOST_ROWS = 5000
"""From which a covariance is measured; more change nothing."""

_RANK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Class means with one covariance, of leading directions and the same variance in all others.

    Attributes
    ----------
    origin : float32 array of shape (dim,)
        Taken from every row first, for the sake of float32.
    centres : float32 array of shape (centres, dim)
        Without the origin.
    basis : float32 array of shape (rank, dim)
        The leading directions, each as long as it is to be taken back by.
    noise : float
        The variance in all other directions.
    products : float32 array of shape (rank + centres, dim)
        What rows without the origin are multiplied by: the basis, and a row for each centre.
    squares : float64 array of shape (centres,)
        What is added for each centre.
    """

    origin: Vector
    centres: Vector
    basis: Vector
    noise: float
    products: Vector = field(init=False, repr=False)
    squares: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """What is the same for all rows: one matrix has all that they are multiplied by.

        The distance is (x - c)' M (x - c) with M = 1 / noise - basis' basis,
        so that beside x' M x it takes x' (M c) and c' (M c) of each centre.
        """
        centres, basis = self.centres.astype(np.float64), self.basis.astype(np.float64)
        turned = centres / self.noise - centres @ basis.T @ basis
        products = np.concatenate([self.basis, -2 * turned]).astype(np.float32)
        object.__setattr__(self, "products", products)
        object.__setattr__(self, "squares", np.vecdot(centres, turned))

    @classmethod
    def fit(cls, X: Vector, about: NDArray[np.int64], weights: NDArray[np.float64]) -> Gaussian:
        """Of rows of shape (n, dim), the place of the centre of each, and their weights."""
        centres, _ = class_means(X, about, weights)
        some = np.random.default_rng(0).permutation(len(X))[:MOST_ROWS]
        scatter = scatter_about(X[some], centres, about[some], weights[some])
        free = max(len(some) - len(centres), 1)
        return cls.of(centres, scatter / np.float32(weights[some].mean()), free)

    @classmethod
    def of(cls, centres: Vector, scatter: Vector, free: int) -> Gaussian:
        """Of class means and the scatter about them, of so many degrees of freedom."""
        dim = len(scatter)
        values, vectors = _leading(scatter, max(min(_RANK, free // 2, dim // 2), 1))
        total = float(np.trace(scatter, dtype=np.float64))
        least = max(total / free, 1e-9) * 1e-6 / dim
        noise = max((total - values.sum()) / free / max(dim - len(values), 1), least)
        variances = np.maximum(values / free, noise)
        basis = vectors.T * np.sqrt(1 / noise - 1 / variances)[:, None]
        origin: Vector = centres.mean(axis=0)
        return cls(origin, centres - origin, np.ascontiguousarray(basis, np.float32), noise)

    def distances(self, X: Vector) -> NDArray[np.float64]:
        """The mean squared deviation of rows from the nearest centre, in standard deviations: shape (n,)."""
        rows: Vector = X - self.origin
        products: Vector = rows @ self.products.T
        along, towards = products[:, : len(self.basis)], products[:, len(self.basis) :]
        own = _squared(rows) / self.noise - _squared(along)
        found: NDArray[np.float64] = np.maximum(own + (towards + self.squares).min(axis=1), 0)
        found /= X.shape[1]
        return found

    def with_centre(self, centre: Vector) -> Gaussian:
        """The same with one more class, of the same covariance."""
        centres = np.concatenate([self.centres, [centre - self.origin]]).astype(np.float32)
        return Gaussian(self.origin, centres, self.basis, self.noise)


def _leading(scatter: Vector, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues and their vectors, by subspace iteration: Halko et al. (2011)."""
    rng = np.random.default_rng(0)
    block = rng.normal(size=(len(scatter), min(rank + 10, len(scatter)))).astype(np.float32)
    for _ in range(4):
        block = np.linalg.qr(scatter @ block)[0]
    small = (block.T @ scatter @ block).astype(np.float64)
    values, turned = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(-values)[:rank]
    return np.maximum(values[order], 0), block @ turned[:, order]


def _squared(rows: Vector) -> NDArray[np.float64]:
    """|row|**2 for each row: shape (n,)."""
    found: NDArray[np.float64] = np.vecdot(rows, rows, dtype=np.float64)
    return found
