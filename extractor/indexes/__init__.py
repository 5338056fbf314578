"""Nearest neighbours among unit vectors, compared by their cosine.

Unit length has its owner here (`unit`): vectors come in as the backbone gave
them. Which ids they have is the collection's business. Segments (`segments`,
`kinds`) are what is searched; `exact` is the obvious way, and their judge.
"""

from __future__ import annotations

import operator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.errors import InvalidArgument
from extractor.results import Vector

Rows: TypeAlias = NDArray[np.int64]

SCORE_DECIMALS = 6
"""Cosines of float32 vectors differ by about 1e-7 between machines; finer than this is noise."""


class Hits(NamedTuple):
    """What one query found: best first, equal scores in the order of their rows.

    Attributes
    ----------
    rows : int64 array of shape (n,)
    scores : float64 array of shape (n,)
        Cosines, rounded to `SCORE_DECIMALS`.
    """

    rows: Rows
    scores: NDArray[np.float64]


def has_direction(vectors: ArrayLike) -> NDArray[np.bool_]:
    """Which of the vectors of shape (n, dim) are finite and not zero, so that an angle can be measured."""
    return _measurable(_lengths(np.asarray(vectors, np.float32)))


def unit(vectors: ArrayLike, dim: int) -> Vector:
    """Scale vectors of shape (n, dim) to length one.

    Raises
    ------
    InvalidArgument
        When they are no numbers, the shape is another, or a vector is zero or not finite.
    """
    try:
        given = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"expected vectors of shape (n, {dim}): {error}") from None
    if given.ndim != 2 or given.shape[1] != dim:
        raise InvalidArgument(f"expected vectors of shape (n, {dim}), got {given.shape}")
    lengths = _lengths(given)
    if not (good := _measurable(lengths)).all():
        raise InvalidArgument(
            f"vector {int(np.argmin(good))} of {len(given)} is zero or holds values that are not finite: "
            "it has no direction to compare"
        )
    units = np.empty(given.shape, np.float32)
    return np.divide(given, lengths[:, None], out=units, dtype=np.float64, casting="same_kind")


def checked_k(k: int) -> int:
    """Return `k` as a plain integer when it is one of at least 1, else raise InvalidArgument."""
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if number < 1:
        raise InvalidArgument(f"k, the number of neighbours, must be a whole number of at least 1, not {k!r}")
    return number


def best(rows: Rows, scores: NDArray[np.float64], k: int) -> Hits:
    """Round and order; keep `k` and whatever ties with the last."""
    scores = np.round(scores, SCORE_DECIMALS)
    order = np.lexsort((rows, -scores))
    if k < len(order):
        order = order[scores[order] >= scores[order[k - 1]]]
    return Hits(rows[order], scores[order])


def _measurable(lengths: NDArray[np.float64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isfinite(lengths) & (lengths > 0)
    return found


def _lengths(vectors: Vector) -> NDArray[np.float64]:
    # in float64, where the square of no float32 is too large or vanishes
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return lengths
