"""Arrays that are checked: a head's own, lest an edited file is run, and rows that it is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.errors import InvalidArgument
from extractor.results import Vector

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def shaped(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> Vector:
    """The array `name` as float32, when it is finite and of this shape; None stands for any length.

    Raises
    ------
    ValueError
        When it is missing, or another.
    """
    if name not in arrays:
        raise ValueError(f"the array {name} is missing")
    array = np.ascontiguousarray(arrays[name], np.float32)
    fits = array.ndim == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"the array {name} has the shape {array.shape}, not {shape}")
    return finite(array, name)


def finite(array: Vector, name: str = "the array") -> Vector:
    """Return `array` when all its values are finite, else raise ValueError."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    return array


def checked_rows(X: ArrayLike, dim: int | None = None) -> Vector:
    """Embeddings as float32 of shape (n, dim), of any width when none is given.

    Raises
    ------
    InvalidArgument
        When they are anything else, or have values that are not finite.
    """
    try:
        matrix = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"X must be a matrix of numbers, one embedding for each row: {error}") from None
    if matrix.ndim != 2:
        raise InvalidArgument(f"X must be a matrix, one embedding for each row; its shape is {matrix.shape}")
    if dim is not None and matrix.shape[1] != dim:
        raise InvalidArgument(f"the rows of X have {matrix.shape[1]} numbers, and the head takes {dim}")
    if not np.isfinite(matrix).all():
        bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        raise InvalidArgument(
            f"{bad.size} rows of X, the first is row {bad[0]}, have values that are not finite"
        )
    return matrix
