"""Principal component analysis of a whole collection, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    tiles = watch(rows.tiles(TILE), -(-len(rows) // TILE), "find axes", " tiles")
    find = _of_few if len(rows) < rows.dim else _of_many
    mean, directions, variances = find(tiles, len(rows), rows.dim)
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    total = variances.sum() or 1.0  # all alike: nothing to explain
    return Axes(mean, (directions * signs)[:, :count], variances[:count] / total)


def _of_few(tiles: Iterable[Vector], _count: int, _dim: int) -> Axes:
    """By the rows themselves, which are fewer than their covariances."""
    units = np.concatenate(list(tiles)).astype(np.float64)
    mean = units.mean(axis=0)
    _, lengths, directions = np.linalg.svd(units - mean, full_matrices=False)
    return Axes(mean, directions.T, lengths**2)


def _of_many(tiles: Iterable[Vector], count: int, dim: int) -> Axes:
    """By the covariance matrix, a sum over all rows."""
    mean, products = np.zeros(dim), np.zeros((dim, dim))
    for units in tiles:
        wide = units.astype(np.float64) / count
        mean += wide.sum(axis=0)
        products += wide.T @ units
    variances, directions = np.linalg.eigh(products - np.outer(mean, mean))
    return Axes(mean, directions[:, ::-1], variances[::-1].clip(0))
