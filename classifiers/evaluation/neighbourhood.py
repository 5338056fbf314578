"""Among labelled images: those that are nearly the same, and those that are like no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.exploring.duplicates import find_duplicates
from extractor.exploring.outliers import find_outliers
from extractor.exploring.rows import Rows
from extractor.results import Vector

ALIKE = 0.99
"""The cosine from which two images count as nearly the same, unless the split was made with another.

Of different photos of solar cells 0.007 % of all pairs reach it.
"""

MOST = 10_000
"""Rows that are compared; of more, so many drawn at random."""

UNUSUAL = 24
"""Images that are unlike all others."""


class _Item(NamedTuple):
    id: str
    vector: Vector
    digest: bytes
    label: str | None


class Unusual(NamedTuple):
    """A row, and its mean cosine distance to the ten that are most like it."""

    row: int
    distance: float


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What was found.

    Attributes
    ----------
    groups : list of list of int
        Rows that are nearly the same, the largest group first.
    unusual : list of Unusual
        The most unusual first.
    median : float
        The distance of a row in the middle.
    compared : int
        How many rows were compared.
    alike : float
        The cosine from which two rows are nearly the same.
    """

    groups: list[list[int]]
    unusual: list[Unusual]
    median: float
    compared: int
    alike: float


def neighbourhood(X: Vector, alike: float = ALIKE, seed: int = 0) -> Neighbourhood:
    """Compare every row with every other.

    Rows of no length are passed over: they point nowhere.

    Parameters
    ----------
    X : float32 array of shape (n, dim)
    alike : float
        The cosine from which two rows are nearly the same.
    seed : int
        Of the rows that are drawn where there are too many.
    """
    chosen = np.flatnonzero(np.einsum("ij,ij->i", X, X, dtype=np.float64) > 0)
    if len(chosen) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST, replace=False))
    if len(chosen) < 2:
        return Neighbourhood([], [], 0.0, len(chosen), alike)
    with _rows(X, chosen) as rows:
        groups = [[int(member.id) for member in group.members] for group in find_duplicates(rows, alike)]
        outliers = find_outliers(rows, UNUSUAL)
    unusual = [Unusual(int(each.id), each.distance) for each in outliers.images]
    return Neighbourhood(groups, unusual, outliers.median, len(chosen), alike)


def _rows(X: Vector, chosen: NDArray[np.intp]) -> Rows:
    rows = Rows(X.shape[1])
    for start in range(0, len(chosen), 1024):
        rows.append([_Item(str(at), X[at], b"", None) for at in chosen[start : start + 1024].tolist()])
    return rows
