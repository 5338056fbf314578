"""Images that are none of the classes: how far an embedding is from all that a head was fitted on.

The distance is Mahalanobis', to the nearest class mean, with one covariance
for all classes: Lee et al., A Simple Unified Framework for Detecting
Out-of-Distribution Samples (2018). The covariance is shrunk to its leading
directions and one variance for all the others, as in Tipping and Bishop,
Probabilistic Principal Component Analysis (1999): so it can be had of few
rows, and a distance costs two thin products beside an embedding. On the
2,624 solar cells it finds left-out classes better than the nearest
neighbours do, and the distance relative to that of all rows does not
exist for two classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.data.splits import folds
from classifiers.distribution.gaussian import Gaussian
from classifiers.layers.arrays import Arrays, shaped

if TYPE_CHECKING:
    from classifiers.data.targets import Labelled

FALSE_REJECTS = 0.05
"""The share of images of the known classes that is taken for unknown."""

FEW_ROWS = 1000
"""Up to which every row is held out once; of more, a fifth is."""

MOST_LEFT_OUT = 10
"""Classes that are left out in turn; of more, as many spread over them."""

_PREFIX = "rejection."


@dataclass(frozen=True, slots=True)
class Measured:
    """How a threshold came about, and what it is worth.

    Attributes
    ----------
    method : str
    threshold : float
        Of the distance, above which an image is unknown.
    false_rejects : float
        The share of images of the known classes that shall be over it.
    rows : int
        Held-out rows that it was measured on.
    left_out : dict of str to float
        By class: the probability that an image of it is further away than one
        of the other classes when the class was left out of the fit (AUROC).
    rejected : float or None
        The share of the test images, which the threshold has not seen, that is over it.
    """

    method: str
    threshold: float
    false_rejects: float
    rows: int
    left_out: dict[str, float]
    rejected: float | None = None

    @property
    def auroc(self) -> float | None:
        """The mean over the classes that were left out; None when none was."""
        return sum(self.left_out.values()) / len(self.left_out) if self.left_out else None


@dataclass(frozen=True, slots=True, eq=False)
class Rejection:
    """Says which embeddings are of none of the classes.

    Attributes
    ----------
    gaussian : Gaussian
    held_out : float64 array of shape (m,)
        Distances of held-out rows, ascending: what live ones are compared with.
    measured : Measured
    """

    gaussian: Gaussian
    held_out: NDArray[np.float64]
    measured: Measured

    @classmethod
    def fit(cls, labelled: Labelled, seed: int = 0, rate: float = FALSE_REJECTS) -> Rejection | None:
        """Measure a threshold on held-out rows; None when no row can be held out.

        Parameters
        ----------
        labelled : Labelled
        seed : int
            Of the folds.
        rate : float
            The share of rows of the known classes that may be rejected.
        """
        held = folds(labelled.y, labelled.groups, seed)
        numbers = range(held.max() + 1)[: None if len(held) <= FEW_ROWS else 1]
        if not numbers:
            return None
        about = _about(labelled)
        parts = []
        for number in numbers:
            known = held != number
            fold = Gaussian.fit(labelled.X[known], _dense(about[known]), labelled.weights[known])
            parts.append(fold.distances(labelled.X[~known]))
        distances = np.sort(np.concatenate(parts))
        left_out = {} if labelled.multi_label else leave_one_class_out(labelled, held == numbers[0])
        measured = Measured("mahalanobis", threshold_of(distances, rate), rate, len(distances), left_out)
        return cls(Gaussian.fit(labelled.X, about, labelled.weights), thinned(distances), measured)

    def tested(self, X: ArrayLike) -> Rejection:
        """The same, with the share of these rows, which it has not seen, that it rejects; it keeps their
        distances: those it was measured on are of fits on fewer rows, and not quite like live ones.
        """
        found = self.distances(X)
        measured = replace(self.measured, rejected=float((found > self.threshold).mean()))
        return replace(self, held_out=thinned(found), measured=measured)

    @property
    def threshold(self) -> float:
        """The distance above which an image is unknown."""
        return self.measured.threshold

    def distances(self, X: ArrayLike) -> NDArray[np.float64]:
        """How far embeddings of shape (n, dim) are from the nearest class: about 1 for rows fitted on."""
        return self.gaussian.distances(np.ascontiguousarray(X, np.float32))

    def unknown(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Which of them are further than the threshold: shape (n,)."""
        over: NDArray[np.bool_] = self.distances(X) > self.threshold
        return over

    def arrays(self) -> Arrays:
        """What is stored as arrays."""
        parts = {"origin": self.gaussian.origin, "centres": self.gaussian.centres}
        parts |= {"basis": self.gaussian.basis, "noise": np.array([self.gaussian.noise])}
        return {_PREFIX + name: array for name, array in (parts | {"held_out": self.held_out}).items()}

    def facts(self) -> dict[str, Any]:
        """What is stored as numbers, with the mean AUROC for who reads it."""
        return asdict(self.measured) | {"auroc": self.measured.auroc}

    @classmethod
    def of(cls, arrays: Arrays, facts: dict[str, Any], dim: int) -> Rejection | None:
        """Take it out of a head's file; None when it has none, ValueError when it does not fit."""
        if not facts:
            return None
        measured = Measured(**{name: facts[name] for name in Measured.__dataclass_fields__})
        (noise,) = shaped(arrays, _PREFIX + "noise", (1,)).tolist()
        if noise <= 0 or not measured.threshold >= 0:
            raise ValueError("the threshold of unknowns must be a number, and its variance above zero")
        gaussian = Gaussian(
            shaped(arrays, _PREFIX + "origin", (dim,)),
            shaped(arrays, _PREFIX + "centres", (None, dim)),
            shaped(arrays, _PREFIX + "basis", (None, dim)),
            float(arrays[_PREFIX + "noise"][0]),
        )
        return cls(gaussian, arrays[_PREFIX + "held_out"].astype(np.float64), measured)


def threshold_of(distances: NDArray[np.float64], rate: float) -> float:
    """The distance that a new row of the known classes exceeds with the probability `rate` at most.

    The quantile of split conformal prediction; of too few rows for it, the largest.
    """
    rank = math.ceil((len(distances) + 1) * (1 - rate))
    return float(np.sort(distances)[min(rank, len(distances)) - 1])


def thinned(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most a thousand quantiles of them, ascending."""
    if len(distances) <= FEW_ROWS:
        return np.sort(distances)
    quantiles: NDArray[np.float64] = np.quantile(distances, np.linspace(0, 1, FEW_ROWS))
    return quantiles


def leave_one_class_out(labelled: Labelled, held: NDArray[np.bool_]) -> dict[str, float]:
    """For each class: how surely it is told from the others by a fit that has not seen it (AUROC).

    Parameters
    ----------
    labelled : Labelled
        One label for each row.
    held : bool array of shape (n,)
        Rows on which it is judged; the others are fitted on.
    """
    shuffled = np.random.default_rng(0).permutation(len(held))
    known, judged = (shuffled[side[shuffled]][:FEW_ROWS] for side in (~held, held))
    places = np.linspace(0, len(labelled.classes) - 1, min(MOST_LEFT_OUT, len(labelled.classes)))
    found = {}
    for place in np.unique(places.round().astype(int)).tolist():
        rows = known[labelled.y[known] != place]
        new = labelled.y[judged] == place
        if len(rows) and new.any() and not new.all():
            fit = Gaussian.fit(labelled.X[rows], _dense(labelled.y[rows]), labelled.weights[rows])
            found[str(labelled.classes[place])] = _auroc(fit.distances(labelled.X[judged]), new)
    return found


def _auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The probability that a positive row scores higher than another: Mann and Whitney's statistic."""
    from scipy.stats import rankdata

    ranks, n = rankdata(scores), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def _about(labelled: Labelled) -> NDArray[np.int64]:
    """The centre of each row: that of its class, or of all rows where it may have several."""
    places: NDArray[np.int64] = np.zeros(len(labelled.X), np.int64) if labelled.multi_label else labelled.y
    return places


def _dense(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Renumbered without those that do not occur."""
    return np.asarray(np.unique(places, return_inverse=True)[1])
