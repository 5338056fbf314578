"""Scores as probabilities: a temperature, and how far probabilities are from what happens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from classifiers.kinds import Targets

LEAST_ROWS = 100
"""Held-out rows that a temperature needs, where the scores are log probabilities already."""

_RANGE = (-7, 7)  # of the natural logarithm of a temperature


def log_loss(
    logits: NDArray[np.float64], truth: Targets, weights: NDArray[np.float64] | None = None
) -> float:
    """The mean of -log(probability of what is true).

    Parameters
    ----------
    logits : array of shape (n, classes)
    truth : Targets
        With several labels a row, the mean over the classes.
    weights : array of shape (n,), optional
    """
    if truth.ndim == 2:
        losses = np.logaddexp(0, np.where(truth, -logits, logits)).mean(axis=1)
    else:
        losses = -log_softmax(logits, axis=1)[np.arange(len(truth)), truth]
    return float(np.average(losses, weights=weights))


def temperature(
    logits: NDArray[np.float64], truth: Targets, weights: NDArray[np.float64] | None = None
) -> float:
    """The temperature with the smallest log loss; parameters as in `log_loss`.

    Guo et al., On Calibration of Modern Neural Networks (2017).
    """
    found = minimize_scalar(
        lambda power: log_loss(logits / np.exp(power), truth, weights), bounds=_RANGE, method="bounded"
    )
    return float(np.exp(found.x))


def calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int = 15) -> float:
    """The expected calibration error: how far confidence is from accuracy, over bins of equal width.

    Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning (2015).

    Parameters
    ----------
    probabilities : array of shape (n, classes)
    truth : int array of shape (n,)
    bins : int
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(truth), 1))
