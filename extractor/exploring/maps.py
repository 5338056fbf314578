"""A collection laid out in the plane: images that look alike lie near each other."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.errors import InvalidArgument
from extractor.exploring.axes import principal_axes
from extractor.exploring.pairs import TILE
from extractor.exploring.rows import Places, Rows
from extractor.exploring.watching import Watch, unwatched
from extractor.results import Vector

Method: TypeAlias = Literal["pca", "umap"]

MOST = 100_000
"""Points of a map; of more images so many are chosen at random, always the same."""

_UMAP_AXES = 64  # UMAP sees so many principal components, which is quicker and hardly changes a map
_UMAP_NEIGHBOURS = 15
_UMAP_FEWEST = 5


class Layout(NamedTuple):
    """Where images lie.

    Attributes
    ----------
    places : int64 array of shape (n,)
        The rows that are on the map, rising.
    points : float32 array of shape (n, 2)
    method : str
        How it was made, in words.
    """

    places: Places
    points: Vector
    method: str


def lay_out(rows: Rows, method: Method = "pca", most: int = MOST, watch: Watch = unwatched) -> Layout:
    """Give each image, or `most` of them, a place in the plane.

    The same images give the same map.

    Parameters
    ----------
    rows : Rows
    method : str
        "pca" keeps the two directions of most variance: distances are true as
        far as it goes. "umap" keeps neighbours together: what is near is
        alike, but distances between groups and their sizes say little.
    most : int
    watch : Watch
        Is shown the tiles that are read.

    Raises
    ------
    InvalidArgument
        When UMAP is not installed, or there are too few images for it.
    """
    require_method(method)
    places = _chosen(len(rows), most)
    if method == "umap":
        return Layout(places, _umap(_projected(rows, _UMAP_AXES, places, watch)[0]), "UMAP")
    points, explained = _projected(rows, 2, places, watch)
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a single image has one axis
    return Layout(places, points, f"PCA: two directions, {explained:.0%} of the variance")


def require_method(method: Method) -> None:
    """Raise InvalidArgument when the packages for it are not installed; quickly, without using them."""
    if method == "umap" and not find_spec("umap"):
        raise InvalidArgument(
            "UMAP is not installed: run `pip install '.[map]'` in penultimate's folder, or use PCA"
        )


def spread(points: Vector, count: int, cells: int = 64) -> NDArray[np.int64]:
    """Which `count` of the points to take so that they lie all over the map: one of each cell, then more."""
    low, high = points.min(axis=0), points.max(axis=0)
    grid = np.minimum((points - low) / np.maximum(high - low, 1e-12) * cells, cells - 1).astype(np.int64)
    cell = grid[:, 0] * cells + grid[:, 1]
    order = np.argsort(cell, kind="stable")
    begins = np.flatnonzero(np.diff(cell[order], prepend=-1))
    turn = np.arange(len(cell)) - np.repeat(begins, np.diff([*begins, len(cell)]))
    return np.sort(order[np.argsort(turn, kind="stable")[:count]])


def _chosen(count: int, most: int) -> Places:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _projected(rows: Rows, count: int, places: Places, watch: Watch) -> tuple[Vector, float]:
    """Of some rows the coordinates along the first axes, and the share of the variance that the axes keep."""
    axes = principal_axes(rows, count, watch)
    wanted = np.zeros(len(rows), np.bool_)
    wanted[places] = True
    masks = np.split(wanted, range(TILE, len(rows), TILE))
    parts = [axes.project(units[mask]) for units, mask in zip(rows.tiles(TILE), masks, strict=True)]
    return np.concatenate(parts), float(axes.explained.sum())


def _umap(points: Vector) -> Vector:
    if len(points) < _UMAP_FEWEST:
        raise InvalidArgument(f"UMAP needs at least {_UMAP_FEWEST} images, not {len(points)}: use PCA")
    from umap import UMAP

    neighbours = min(_UMAP_NEIGHBOURS, len(points) - 1)
    # With a seed it runs on one thread, and the same images give the same map.
    reducer = UMAP(n_neighbors=neighbours, init="pca", random_state=0, n_jobs=1)
    return np.asarray(reducer.fit_transform(points), np.float32)
