"""Principal component analysis of a whole collection, in one pass and bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from extractor.exploring.pairs import TILE
from extractor.exploring.rows import Rows
from extractor.exploring.watching import Watch, unwatched
from extractor.results import Vector


class Axes(NamedTuple):
    """The directions in which unit vectors differ most.

    Attributes
    ----------
    mean : float64 array of shape (dim,)
    directions : float64 array of shape (dim, count)
        Of length one, at right angles, the most telling first.
    explained : float64 array of shape (count,)
        The share of the variance along each.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    explained: NDArray[np.float64]

    def project(self, units: Vector) -> Vector:
        """Coordinates along the axes, of shape (n, count)."""
        return ((units - self.mean) @ self.directions).astype(np.float32)


def principal_axes(rows: Rows, count: int, watch: Watch = unwatched) -> Axes:
    """The `count` principal axes, or fewer when the vectors have fewer dimensions.

    The same rows give the same axes: of each, the entry that is the largest is
    positive.
    """
    mean, products = np.zeros(rows.dim), np.zeros((rows.dim, rows.dim))
    for units in watch(rows.tiles(TILE), -(-len(rows) // TILE), "find axes", " tiles"):
        wide = units.astype(np.float64) / len(rows)
        mean += wide.sum(axis=0)
        products += wide.T @ units
    covariance = products - np.outer(mean, mean)
    first = max(rows.dim - count, 0)
    values, directions = eigh(covariance, subset_by_index=[first, rows.dim - 1])
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(values))])
    variance = np.trace(covariance) or 1.0  # all alike: nothing to explain
    return Axes(mean, (directions * signs)[:, ::-1], values[::-1].clip(0) / variance)
