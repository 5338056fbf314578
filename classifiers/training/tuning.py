"""The settings of a head, chosen by cross-validation, and what it said of rows it had not seen."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from classifiers.data.splits import folds
from classifiers.data.targets import Labelled
from classifiers.evaluation.calibration import LEAST_ROWS, doubt, log_loss, temperature
from classifiers.kinds import KINDS, Kind, Rows, Setting
from classifiers.training.recipes import Recipe, quiet_single_threads
from extractor.settings import cores

HOLD_OUT_ABOVE = 5000
"""Rows above which one held-out fifth says as much as five folds, in a fifth of the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The kind and setting that were chosen, and how.

    Attributes
    ----------
    kind : str
    setting : Setting
    temperature : float
        Of the scores, from rows that were held out.
    folds : int
        0 when there were too few rows to choose, and the default was taken.
    at_edge : bool
        The best was the strongest or weakest that was tried: a better one may lie beyond.
    trials : dict of Setting to float
        The log loss of each on held-out rows.
    logits : float64 array of shape (n, classes)
        What was said of each row by a head that had not seen it, before the
        temperature; NaN where a row was never held out.
    """

    kind: str
    setting: Setting
    temperature: float = 1.0
    folds: int = 0
    at_edge: bool = False
    trials: dict[Setting, float] = field(default_factory=dict)
    logits: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))


def tune(labelled: Labelled, recipe: Recipe, kind: str) -> Choice:
    """The setting of a kind with the smallest log loss on held-out rows.

    Five stratified folds, or one held-out fifth of more than `HOLD_OUT_ABOVE`
    rows. Every fold fits its rows with one setting after another, and keeps
    what these share.

    Parameters
    ----------
    labelled : Labelled
    recipe : Recipe
    kind : str
        One of `KINDS`.
    """
    family = KINDS[kind]
    held = folds(labelled.y, labelled.groups, recipe.seed)
    numbers = range(held.max() + 1)[: 1 if len(held) > HOLD_OUT_ABOVE else None]
    if not numbers:
        return Choice(kind, family.default)
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threads(blas=1 if len(numbers) > 1 else cores()))
        pool = stack.enter_context(ThreadPoolExecutor(min(cores(), len(numbers))))
        parts = list(pool.map(lambda number: _Fold(labelled, held == number, recipe, family), numbers))
        search = _Search(labelled, held, parts, pool, family)
        family.search(search)
    return search.choice(len(parts))


class _Fold:
    """One fold, scaled once, fitted with many settings."""

    def __init__(self, labelled: Labelled, held: NDArray[np.bool_], recipe: Recipe, kind: Kind) -> None:
        known = labelled.take(~held).augmented()
        scaling = recipe.scaling(known.X, known.weights)
        rows = Rows(scaling(known.X), known.y, known.weights, len(labelled.classes), recipe.seed)
        self._fit = kind.fitter(rows, False)
        self._held = scaling(labelled.X[held])
        self.places = np.flatnonzero(held)

    def logits(self, setting: Setting) -> NDArray[np.float64]:
        """Fit, and score the held-out rows."""
        return self._fit(setting).scores(self._held)


class _Search:
    """Tries settings, and remembers the best with its logits."""

    def __init__(
        self,
        labelled: Labelled,
        held: NDArray[np.intp],
        parts: list[_Fold],
        pool: ThreadPoolExecutor,
        kind: Kind,
    ) -> None:
        self._pool, self._parts, self._kind = pool, parts, kind
        self._places = np.concatenate([part.places for part in parts])
        self._truth, self._weights = labelled.y[self._places], labelled.weights[self._places]
        self._shape = len(held), len(labelled.classes)
        self._trials: dict[Setting, float] = {}
        self._logits = np.empty((0, 0))

    def __call__(self, setting: Setting) -> float:
        if setting not in self._trials:
            logits = np.concatenate(list(self._pool.map(lambda part: part.logits(setting), self._parts)))
            self._trials[setting] = self._loss(logits)
            if setting == self._best():
                self._logits = logits
        return self._trials[setting]

    def choice(self, count: int) -> Choice:
        """What came out of it."""
        logits = np.full(self._shape, np.nan)
        logits[self._places] = self._logits
        best, heat = self._best(), self._temperature(self._logits)
        return Choice(self._kind.name, best, heat, count, self._at_edge(), self._trials, logits)

    def _best(self) -> Setting:
        """By log loss; where that says nothing, as when all part the classes, by common use."""
        return min(self._trials, key=lambda setting: (round(self._trials[setting], 3), self._oddity(setting)))

    def _oddity(self, setting: Setting) -> float:
        default = self._kind.default.named()
        return sum(abs(math.log(value / default[name])) for name, value in setting.named().items())

    def _at_edge(self) -> bool:
        strengths = {setting.strength for setting in self._trials if setting.strength is not None}
        return len(strengths) > 1 and self._best().strength in (min(strengths), max(strengths))

    def _loss(self, logits: NDArray[np.float64]) -> float:
        heat = 1.0 if self._kind.calibrated else temperature(logits, self._truth, self._weights)
        return log_loss(logits / heat, self._truth, self._weights)

    def _temperature(self, logits: NDArray[np.float64]) -> float:
        """Of a kind whose scores are log probabilities only when there are rows to say so, and it helps."""
        heat = temperature(logits, self._truth, self._weights)
        if not self._kind.calibrated:
            return heat
        before, after = (
            log_loss(logits / each, self._truth, self._weights, doubt(len(logits))) for each in (1.0, heat)
        )
        return heat if len(logits) >= LEAST_ROWS and after < before - 1e-4 else 1.0
