"""The strength of the penalty, chosen by cross-validation.

The loss of a classifier is `mean(loss) + strength / 2 * |weights|**2`. The
strength, 1 / (C n) in scikit-learn's terms, keeps its meaning when the number
of rows changes; C does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from scipy.special import log_softmax  # type: ignore[import-untyped]

from classifiers.recipes import Effort, Kind, Recipe, checked, quiet_single_threads
from classifiers.splits import folds
from extractor.results import Vector
from extractor.settings import cores

EXPONENTS = range(2, -9, -1)
"""Of the strengths that are tried, as powers of ten; the search ends once it is past the best."""

DEFAULT_STRENGTH = 0.1
"""When there are too few rows to choose."""

HOLD_OUT_ABOVE = 5000
"""Rows above which one held-out fifth says as much as five folds, in a fifth of the time."""

EFFORT: dict[Kind, Effort] = {"logistic": Effort(100, 1e-3), "linear-svm": Effort(50, 0.1)}
"""Enough to rank the strengths; the chosen one is fitted until it converges."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a strength did on rows that were not trained on.

    `sharpness` is the factor on the scores that makes them probabilities (1
    for logistic regression, which gives probabilities already), `log_loss`
    the mean of -log(probability of the true class).
    """

    log_loss: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class Penalty:
    """The strength that was chosen, and how.

    Attributes
    ----------
    strength : float
    sharpness : float
        See `Trial`.
    folds : int
        0 when there were too few rows to choose, and the default was taken.
    at_edge : bool
        The best was the last or first that was tried: the true best may lie beyond.
    trials : dict of float to Trial
        By strength.
    """

    strength: float
    sharpness: float = 1.0
    folds: int = 0
    at_edge: bool = False
    trials: dict[float, Trial] = field(default_factory=dict)


def choose_penalty(X: ArrayLike, y: ArrayLike, recipe: Recipe, groups: ArrayLike | None = None) -> Penalty:
    """The strength with the smallest log loss on held-out rows.

    Five stratified folds, or one held-out fifth of more than `HOLD_OUT_ABOVE`
    rows. Every fold starts from its solution for the stronger penalty before.

    Parameters
    ----------
    X : array-like of shape (n, dim)
    y : array-like of shape (n,)
    recipe : Recipe
    groups : array-like of shape (n,), optional
        Rows of one group are held out together.
    """
    X, y = checked(X, y)
    held = folds(y, np.arange(len(y)) if groups is None else groups, recipe.seed)
    numbers = range(held.max() + 1)[: 1 if len(y) > HOLD_OUT_ABOVE else None]
    if not numbers:
        return Penalty(DEFAULT_STRENGTH)
    with quiet_single_threads(), ThreadPoolExecutor(cores()) as pool:
        parts = list(pool.map(lambda number: _Fold(X, y, held == number, recipe), numbers))
        truth = np.searchsorted(np.unique(y), np.concatenate([part.truth for part in parts]))

        def attempt(strength: float) -> Trial:
            logits = np.concatenate(list(pool.map(lambda part: part.logits(strength), parts)))
            return (
                _sharpened(logits, truth)
                if recipe.kind == "linear-svm"
                else Trial(_log_loss(logits, truth), 1)
            )

        trials = _search(attempt)
    best = min(trials, key=lambda strength: _rank(math.log10(strength), trials[strength]))
    at_edge = best in (min(trials), max(trials))
    return Penalty(best, trials[best].sharpness, len(parts), at_edge, trials)


class _Fold:
    """One fold of the cross-validation, scaled once, fitted for many strengths."""

    def __init__(self, X: Vector, y: NDArray[Any], held: NDArray[np.bool_], recipe: Recipe) -> None:
        scaler = recipe.scaler(X[~held])
        self._X = scaler.transform(X[~held])
        self._y = y[~held]
        self._held = scaler.transform(X[held])
        self.truth = y[held]
        self._classifier = recipe.classifier(EFFORT)
        if recipe.kind == "logistic":
            self._classifier.warm_start = True

    def logits(self, strength: float) -> NDArray[np.float64]:
        """Fit, and score the held-out rows: one column per class."""
        self._classifier.C = 1 / (strength * len(self._y))
        self._classifier.fit(self._X, self._y)
        scores = np.asarray(self._classifier.decision_function(self._held), dtype=np.float64)
        return scores if scores.ndim == 2 else np.column_stack([np.zeros_like(scores), scores])


def _search(attempt: Callable[[float], Trial]) -> dict[float, Trial]:
    """Try decades from strong to weak until two are past the best, then the halves around it."""
    trials: dict[float, Trial] = {}

    def best() -> float:
        return min(trials, key=lambda exponent: _rank(exponent, trials[exponent]))

    for exponent in EXPONENTS:
        trials[exponent] = attempt(10.0**exponent)
        if best() - exponent >= 2:
            break
    middle = best()
    for half in (middle + 0.5, middle - 0.5):
        trials[half] = attempt(10.0**half)
    return {10.0**exponent: trial for exponent, trial in sorted(trials.items(), reverse=True)}


def _rank(exponent: float, trial: Trial) -> tuple[float, float]:
    """By log loss; where it says nothing, as when every strength parts the classes, by common use."""
    return round(trial.log_loss, 3), abs(exponent - math.log10(DEFAULT_STRENGTH))


def _sharpened(logits: NDArray[np.float64], truth: NDArray[np.intp]) -> Trial:
    """The factor on the scores that gives the smallest log loss, and that loss."""
    found = minimize_scalar(
        lambda power: _log_loss(logits * np.exp(power), truth), bounds=(-7, 7), method="bounded"
    )
    return Trial(float(found.fun), float(np.exp(found.x)))


def _log_loss(logits: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    return -float(np.mean(log_softmax(logits, axis=1)[np.arange(len(truth)), truth]))
