"""Arguments that are lists: a single thing in place of one is refused, whose parts are not several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from extractor.errors import InvalidArgument

T = TypeVar("T")


def listed(given: Iterable[T], what: str) -> Iterable[T]:
    """Return `given` when it can be a list of several things, as lazy as it is.

    Parameters
    ----------
    given : iterable
    what : str
        What it is a list of, for the error, such as "queries".

    Raises
    ------
    InvalidArgument
        When it is a text or bytes, whose letters are none; one vector, whose
        numbers are none; or nothing that can be gone through.
    """
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise InvalidArgument(f"the {what} must be a list, not a single {type(given).__name__}: write [...]")
    if isinstance(given, np.ndarray) and given.ndim < 2 and given.dtype.kind in "biuf":
        raise InvalidArgument(f"the {what} must be a list, not a single vector: write [...]")
    return given
