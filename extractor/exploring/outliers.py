"""Images that are unlike all others.

The measure is the mean cosine distance to the k nearest images (Angiulli and
Pizzuti, "Fast outlier detection in high dimensional spaces", 2002), which on
embeddings of networks does as well as what is trained for it (Kuan and
Mueller, "Back to the basics: revisiting out-of-distribution detection
baselines", 2022; they take k = 10 and the cosine, too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extractor.errors import InvalidArgument
from extractor.exploring.pairs import nearest
from extractor.exploring.rows import Rows
from extractor.exploring.watching import Watch, unwatched
from extractor.indexes import SCORE_DECIMALS

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Outlier:
    """An image, and its mean cosine distance to the images that are most like it."""

    id: str
    distance: float


@dataclass(frozen=True, slots=True)
class Outliers:
    """The most unusual images of a collection.

    Attributes
    ----------
    images : sequence of Outlier
        The most unusual first; equal ones in the order they were written.
    k : int
        How many neighbours were looked at.
    median : float
        The distance that half of all images keep within.
    """

    images: Sequence[Outlier]
    k: int
    median: float


def find_outliers(rows: Rows, top: int, k: int | None = None, watch: Watch = unwatched) -> Outliers:
    """The `top` images that are farthest from their `k` nearest.

    Every pair is compared, so time grows with the square of the images; memory
    is that of one tile of pairs, and 4 k bytes an image.

    Parameters
    ----------
    rows : Rows
    top : int
        How many to find.
    k : int, optional
        `NEIGHBOURS` when not given, or as many as there are. As many copies of
        one image hide each other from a smaller k.
    watch : Watch
        Is shown the tiles of pairs.

    Raises
    ------
    InvalidArgument
        When `k` is under 1 or not under the number of images.
    """
    k = _checked(k, len(rows))
    distances = 1 - nearest(rows, k, watch).mean(axis=1, dtype=np.float64)
    distances = np.round(distances, SCORE_DECIMALS).clip(0)
    order = np.argsort(-distances, kind="stable")[:top]
    found = [Outlier(rows.id(place), float(distances[place])) for place in order.tolist()]
    return Outliers(found, k, float(np.median(distances)))


def _checked(k: int | None, count: int) -> int:
    if count < 2:
        raise InvalidArgument("a single image has nothing to be unlike: outliers need at least two")
    if k is None:
        return min(NEIGHBOURS, count - 1)
    if not 1 <= k < count:
        raise InvalidArgument(
            f"each of {count:,} images has {count - 1:,} neighbours, so k is 1 to that, not {k}"
        )
    return k
