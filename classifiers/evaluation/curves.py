"""One class against the rest, at every threshold: ROC and precision-recall, with the areas under them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata

from classifiers.evaluation.intervals import Z95, Estimate

POINTS = 120
"""A curve keeps at most so many."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """How well the scores of one class tell its images from the rest.

    Attributes
    ----------
    label : str
    positives, negatives : int
        Test images that are of the class, and that are not.
    roc : float64 array of shape (points, 2)
        False positive rate and true positive rate.
    precision_recall : float64 array of shape (points, 2)
        Recall and precision.
    auc : Estimate
        The area under the ROC curve, with the interval of DeLong et al. (1988)
        on the scale of its log odds.
    average_precision : Estimate
        With the logit interval of Boyd, Eng and Page (2013).
    """

    label: str
    positives: int
    negatives: int
    roc: Floats
    precision_recall: Floats
    auc: Estimate
    average_precision: Estimate


def one_against_rest(label: str, scores: Floats, is_class: NDArray[np.bool_]) -> Curves | None:
    """The curves of one class; None unless there are images of it and of others.

    Parameters
    ----------
    label : str
    scores : array of shape (n,)
        High for images of the class.
    is_class : bool array of shape (n,)
    """
    positives = int(is_class.sum())
    negatives = len(is_class) - positives
    if not positives or not negatives:
        return None
    hits, alarms = _counts(scores, is_class)
    recall, precision = hits / positives, hits / np.maximum(hits + alarms, 1)
    area = float((np.diff(recall, prepend=0) * precision).sum())
    return Curves(
        label=label,
        positives=positives,
        negatives=negatives,
        roc=_thinned(np.column_stack([np.append(0, alarms / negatives), np.append(0, recall)])),
        precision_recall=_thinned(np.column_stack([recall, precision])),
        auc=area_under_roc(scores[is_class], scores[~is_class]),
        average_precision=_on_log_odds(area, area * (1 - area) / positives, positives),
    )


def area_under_roc(of_class: Floats, of_rest: Floats) -> Estimate:
    """The probability that an image of the class scores higher than another, with its 95 % interval.

    E. DeLong et al., "Comparing the areas under two or more correlated receiver
    operating characteristic curves" (Biometrics 44, 1988), by the ranks of X. Sun
    and W. Xu (2014).

    Parameters
    ----------
    of_class, of_rest : arrays of shapes (m,) and (n,)
    """
    m, n = len(of_class), len(of_rest)
    ranks = rankdata(np.concatenate([of_class, of_rest]))
    above = (ranks[:m] - rankdata(of_class)) / n
    below = 1 - (ranks[m:] - rankdata(of_rest)) / m
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (above, below) if len(part) > 1)
    return _on_log_odds(float(above.mean()), variance, min(m, n))


def _on_log_odds(value: float, variance: float, count: int) -> Estimate:
    """An interval that stays within 0..1; of a perfect value, what Wilson says of `count` right answers."""
    half = 0.5 / (count + 1)
    inner = min(max(value, half), 1 - half)
    error = math.sqrt(max(variance, inner * (1 - inner) / (4 * count))) / (inner * (1 - inner))
    low, high = (float(expit(logit(inner) + sign * Z95 * error)) for sign in (-1, 1))
    return Estimate(value, min(low, value), max(high, value))


def _counts(scores: Floats, is_class: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of the class, and others, that score at least as high as each different score."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(is_class[order], dtype=np.int64)[last]
    return hits, last + 1 - hits


def _thinned(points: Floats) -> Floats:
    """At most `POINTS` of them, the first and the last among these."""
    if len(points) <= POINTS:
        return points
    chosen: Floats = points[np.unique(np.linspace(0, len(points) - 1, POINTS).round().astype(int))]
    return chosen
