"""Two classifiers on the same pictures: how much more often one of them is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.evaluation.intervals import Z95, Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more accurate one is than another on the same pictures: a share, and its 95 % interval."""

    share: float
    interval: Interval

    @property
    def above(self) -> bool:
        """Whether it is the better one beyond what chance may do."""
        return self.interval[0] > 0

    @property
    def below(self) -> bool:
        """Whether it is the worse one beyond what chance may do."""
        return self.interval[1] < 0


def difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], weight: float = 1.0) -> Difference:
    """How much more often we are right, on the same pictures.

    The interval is that of A. Agresti and Y. Min, "Simple improved confidence
    intervals for comparing matched proportions" (Statistics in Medicine 24,
    2005): Wald's, with half a picture more in each of the four cells.

    Parameters
    ----------
    ours, theirs : bool array of shape (n,)
        Whether each picture was answered rightly.
    weight : float
        What one answer counts for against an independent one.
    """
    gained, lost = ((ours & ~theirs).sum(), (theirs & ~ours).sum())
    n = weight * len(ours) + 2
    middle = weight * (gained - lost) / n
    half = Z95 * math.sqrt(weight * (gained + lost) + 1 - n * middle**2) / n
    interval = (max(float(middle - half), -1.0), min(float(middle + half), 1.0))
    return Difference(float((gained - lost) / len(ours)), interval)
