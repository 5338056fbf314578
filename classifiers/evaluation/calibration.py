"""Scores as probabilities: a temperature, and how far probabilities are from what happens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from classifiers.kinds import Targets

LEAST_ROWS = 100
"""Held-out rows that a temperature needs, where the scores are log probabilities already."""

BINS = 15
"""Of confidence, of equal width."""

_RANGE = (-7, 7)  # of the natural logarithm of a temperature


def log_loss(
    logits: NDArray[np.float64],
    truth: Targets,
    weights: NDArray[np.float64] | None = None,
    doubt: float = 0.0,
) -> float:
    """The mean of -log(probability of what is true).

    Parameters
    ----------
    logits : array of shape (n, classes)
    truth : Targets
        With several labels a row, the mean over the classes.
    weights : array of shape (n,), optional
    doubt : float
        The probability that something else is true, whichever it is.
    """
    if truth.ndim == 2:
        margins = np.where(truth, logits, -logits)
        right, wrong = (np.logaddexp(0, sign * margins).mean(axis=1) for sign in (-1, 1))
    else:
        losses = -log_softmax(logits, axis=1)
        right = losses[np.arange(len(truth)), truth]
        wrong = (losses.sum(axis=1) - right) / (logits.shape[1] - 1)
    return float(np.average(right + doubt * (wrong - right), weights=weights))


def doubt(rows: int) -> float:
    """Of rows all answered rightly, the probability that the next is not: the rule of succession."""
    return 1 / (rows + 2)


def temperature(
    logits: NDArray[np.float64], truth: Targets, weights: NDArray[np.float64] | None = None
) -> float:
    """The temperature with the smallest log loss; parameters as in `log_loss`.

    Guo et al., On Calibration of Modern Neural Networks (2017). The targets are
    not quite 0 and 1, as in Platt, Probabilistic Outputs for Support Vector
    Machines (1999): where all rows are answered rightly, no answer would be
    sure enough otherwise.
    """
    found = minimize_scalar(
        lambda power: log_loss(logits / np.exp(power), truth, weights, doubt(len(truth))),
        bounds=_RANGE,
        method="bounded",
    )
    return float(np.exp(found.x))


class Bin(NamedTuple):
    """Answers of about the same confidence: its mean, which share was right, and how many there are."""

    confidence: float
    accuracy: float
    images: int


def reliability(probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int = BINS) -> list[Bin]:
    """How often answers are right, by how sure they are; parameters as of `calibration_error`.

    Bins without an answer are left out.
    """
    confidence, right, place = _binned(probabilities, truth, bins)
    counts = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, each, minlength=bins) for each in (confidence, right)]
    return [
        Bin(float(sums[0][at] / counts[at]), float(sums[1][at] / counts[at]), int(counts[at]))
        for at in np.flatnonzero(counts)
    ]


def calibration_error(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int = BINS
) -> float:
    """The expected calibration error: how far confidence is from accuracy, over bins of equal width.

    Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning (2015).

    Parameters
    ----------
    probabilities : array of shape (n, classes)
    truth : int array of shape (n,)
    bins : int
    """
    confidence, right, place = _binned(probabilities, truth, bins)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(truth), 1))


def chance_calibration_error(
    probabilities: NDArray[np.float64], bins: int = BINS, seed: int = 0, draws: int = 200
) -> float:
    """What 95 % of test sets of this size would stay below if the probabilities were right.

    The calibration error of a few images is never 0: it is measured against
    truths that are drawn from the probabilities themselves, as in the consistency
    bars of Broecker and Smith, "Increasing the Reliability of Reliability
    Diagrams" (2007).

    Parameters
    ----------
    probabilities : array of shape (n, classes)
    bins, seed, draws : int
    """
    confidence, _, place = _binned(probabilities, np.zeros(len(probabilities), np.int64), bins)
    rng = np.random.default_rng(seed)
    member = (place[:, None] == np.arange(bins)).astype(np.float64)
    right = rng.random((draws, len(place))) < confidence
    gaps = (confidence - right) @ member
    return float(np.quantile(np.abs(gaps).sum(axis=1) / max(len(place), 1), 0.95))


def _binned(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]:
    """Of each row the confidence, whether the answer is right, and the bin."""
    confidence = probabilities.max(axis=1)
    right: NDArray[np.bool_] = probabilities.argmax(axis=1) == truth
    return confidence, right, np.minimum((confidence * bins).astype(np.intp), bins - 1)
