"""A head's arrays by name, and the checks that keep a file edited by hand from being run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
