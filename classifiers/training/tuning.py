"""The settings of a head, chosen by cross-validation, and what it said of rows it had not seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.splits import folds
from classifiers.data.targets import Labelled
from classifiers.evaluation.calibration import LEAST_ROWS, doubt, log_loss, temperature
from classifiers.kinds import KINDS, Kind, Rows, Setting, Targets
from classifiers.training.recipes import Recipe, quiet_single_threads
from extractor.settings import cores

HOLD_OUT_ABOVE = 5000
"""Rows above which one held-out fifth says as much as five folds, in a fifth of the time."""

ALIKE = 1.02
"""Times the smallest log loss says as much; then right answers decide."""


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
        The least log loss was at the strongest or weakest that was tried: a better one may lie beyond.
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


def tune(
    labelled: Labelled, recipe: Recipe, kind: str, tried: Callable[[str], object] | None = None
) -> Choice:
    """The setting of a kind that answers held-out rows rightly most often, as far as these can tell.

    Five stratified folds, or one held-out fifth of more than `HOLD_OUT_ABOVE`
    rows. Every fold fits its rows with one setting after another, and keeps
    what these share.

    Parameters
    ----------
    labelled : Labelled
    recipe : Recipe
    kind : str
        One of `KINDS`.
    tried : callable, optional
        Is told, in a line, of each setting how it did; what it raises ends the search.
    """
    family = KINDS[kind]
    held = folds(labelled.y, labelled.groups, recipe.seed)
    numbers = range(held.max() + 1)[: 1 if len(held) > HOLD_OUT_ABOVE else None]
    if not numbers:
        return Choice(kind, family.default)
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threads())
        pool = stack.enter_context(ThreadPoolExecutor(min(cores(), len(numbers))))
        parts = list(pool.map(lambda number: _Fold(labelled, held == number, recipe, family), numbers))
        search = _Search(labelled, held, parts, pool, family, tried)
        chosen = family.search(search)
    return search.choice(chosen, len(parts))


def answered(logits: NDArray[np.float64], truth: Targets) -> NDArray[np.float64]:
    """Which rows are answered rightly; with several labels, which share of them: shape (n,)."""
    right = ((logits > 0) == truth).mean(axis=1) if truth.ndim == 2 else logits.argmax(axis=1) == truth
    return np.asarray(right, np.float64)


def paired(
    gains: NDArray[np.float64], weights: NDArray[np.float64], groups: NDArray[Any]
) -> tuple[float, float]:
    """The mean gain, and its standard error: rows of a group are no evidence of their own."""
    shares = weights / weights.sum()
    mean = float(shares @ gains)
    _, group = np.unique(groups, return_inverse=True)
    return mean, max(float(np.linalg.norm(np.bincount(group, shares * (gains - mean)))), 1e-12)


class _Trial(NamedTuple):
    """What a setting said of the held-out rows, its temperature, the log loss without and with it (where
    the scores are no log probabilities, with it), how far each answer is right, and which share of all.
    """

    logits: NDArray[np.float64]
    heat: float
    loss: float
    cooled: float
    answers: NDArray[np.float64]
    right: float


class _Fold:
    """One fold, scaled once, fitted with many settings."""

    def __init__(self, labelled: Labelled, held: NDArray[np.bool_], recipe: Recipe, kind: Kind) -> None:
        known = labelled.take(~held).augmented()
        share = float(labelled.weights[~held].sum() / labelled.weights.sum())
        self._share = share if kind.per_row else 1.0
        scaling = recipe.scaling(known.X, known.weights)
        rows = Rows(scaling(known.X), known.y, known.weights, len(labelled.classes), recipe.seed)
        self._fit = kind.fitter(rows, False)
        self._held = scaling(labelled.X[held])
        self.places = np.flatnonzero(held)

    def logits(self, setting: Setting) -> NDArray[np.float64]:
        """Fit, and score the held-out rows.

        The penalty is the same beside the sum of their losses as it is beside that of all rows: more rows
        want a weaker one, and what is best for four fifths was a little too strong for all in trials.
        """
        if setting.strength:
            setting = setting._replace(strength=setting.strength / self._share)
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
        tried: Callable[[str], object] | None = None,
    ) -> None:
        self._pool, self._parts, self._kind, self._tried = pool, parts, kind, tried
        self._places = np.concatenate([part.places for part in parts])
        self._truth, self._weights = labelled.y[self._places], labelled.weights[self._places]
        self._groups = labelled.groups[self._places]
        self._shape = len(held), len(labelled.classes)
        self._trials: dict[Setting, _Trial] = {}

    def __call__(self, setting: Setting) -> float:
        if setting not in self._trials:
            logits = np.concatenate(list(self._pool.map(lambda part: part.logits(setting), self._parts)))
            self._trials[setting] = self._trial(logits)
            self._tell(setting)
        return self._trials[setting].loss

    def best(self) -> Setting:
        """Of those with nearly the smallest log loss at their temperature the one that is right most often.

        Where labels are noise in part, the smallest loss itself is that of too strong a penalty for the
        most right answers. Where all are right, by log loss; where that says nothing, by common use.
        """
        near = self._near()
        return min(
            near,
            key=lambda setting: (-near[setting].right, round(near[setting].loss, 3), self._oddity(setting)),
        )

    def odds(self) -> dict[Setting, float]:
        """One for the best; less for others nearly as likely, by how many standard errors they are behind.

        None where the answers are the best's, which say nothing of the setting; shared by those whose
        answers are each other's.
        """
        near, best = self._near(), self.best()
        counted = self._weights > 0
        behind = {setting: (near[best].answers - trial.answers)[counted] for setting, trial in near.items()}
        shared = Counter(gains.tobytes() for gains in behind.values())
        odds = {best: 1.0}
        for setting, gains in behind.items():
            if gains.any():
                mean, error = paired(gains, self._weights[counted], self._groups[counted])
                odds[setting] = math.exp(-max(mean, 0.0) / error) / shared[gains.tobytes()]
        return odds

    def _tell(self, setting: Setting) -> None:
        if self._tried:
            values = "".join(f", {name} {value:.3g}" for name, value in setting.named().items())
            self._tried(f"{self._kind.title}{values}: log loss {self._trials[setting].loss:.3f}")

    def choice(self, chosen: Setting, count: int) -> Choice:
        """What came out of it."""
        logits, trial = np.full(self._shape, np.nan), self._trials[chosen]
        logits[self._places] = trial.logits
        losses = {setting: each.loss for setting, each in self._trials.items()}
        return Choice(self._kind.name, chosen, trial.heat, count, self._at_edge(), losses, logits)

    def _near(self) -> dict[Setting, _Trial]:
        most = ALIKE * min(trial.cooled for trial in self._trials.values()) + 1e-3
        return {setting: trial for setting, trial in self._trials.items() if trial.cooled <= most}

    def _oddity(self, setting: Setting) -> float:
        default = self._kind.default.named()
        return sum(abs(math.log(value / default[name])) for name, value in setting.named().items())

    def _at_edge(self) -> bool:
        """Of the losses, by which the search goes on or ends."""
        strengths = {setting.strength for setting in self._trials if setting.strength is not None}
        least = min(
            self._trials,
            key=lambda setting: (round(self._trials[setting].loss, 3), self._oddity(setting)),
        )
        return len(strengths) > 1 and least.strength in (min(strengths), max(strengths))

    def _loss(self, logits: NDArray[np.float64]) -> float:
        """With some doubt, or the weakest penalty would be the best wherever all answers are right."""
        return log_loss(logits, self._truth, self._weights, doubt(len(logits)))

    def _trial(self, logits: NDArray[np.float64]) -> _Trial:
        heat = self._temperature(logits)
        plain, cooled = (self._loss(logits / each) for each in (1.0, heat))
        loss = plain if self._kind.calibrated else cooled
        answers = answered(logits, self._truth)
        right = float(np.average(answers, weights=self._weights))
        return _Trial(logits, heat, loss, cooled, answers, round(right, 6))

    def _temperature(self, logits: NDArray[np.float64]) -> float:
        """Of a kind whose scores are log probabilities only when there are rows to say so, and it helps."""
        heat = temperature(logits, self._truth, self._weights)
        if not self._kind.calibrated:
            return heat
        before, after = (self._loss(logits / each) for each in (1.0, heat))
        return heat if len(logits) >= LEAST_ROWS and after < before - 1e-4 else 1.0
