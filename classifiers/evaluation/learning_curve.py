"""How good a head is with fewer labels, and so what more of them would give.

Heads of the chosen kind and setting are fitted on growing shares of the
training part, each share within the next, and tested on the same rows; and all
of it again for other random splits. With test images of the user's own only
the shares are drawn again. Heads of many rows are stood in for by ridge
regression, which is fitted in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.data.splits import repeated
from classifiers.data.targets import Labelled
from classifiers.evaluation.intervals import Estimate, resampled_interval, wilson_interval
from classifiers.evaluation.power_law import Advice, advise
from classifiers.kinds import KINDS, Rows, Setting, Targets
from classifiers.kinds.ridge import STRENGTH
from classifiers.training.recipes import Recipe, quiet_single_threads
from classifiers.training.tuning import Choice
from extractor.settings import cores

REPEATS = 8
POINTS = 6
"""Shares: each half of the next, but for three quarters before the last."""

OWN_KIND = 16_000
"""Training rows times classes up to which the head's own kind is fitted, not ridge regression: seconds."""

SLOW = {"rbf-svm": 5000, "mlp": 500}
"""The same for kinds whose fits take longer."""

_LEAST = 2  # rows of a class, on average, in the smallest share
_Part = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurve:
    """Accuracy by number of labels.

    Attributes
    ----------
    kind : str
        What was fitted.
    sizes : list of int
        Rows that were fitted on, ascending.
    accuracy : list of Estimate
        Means over the repeats, with 95 % intervals that allow for training
        parts that overlap, and for test rows that are few.
    repeats, test_rows : int
    resplit : bool
        Whether each repeat tested on other rows.
    errors : array of shape (repeats, sizes)
    advice : Advice
    """

    kind: str
    sizes: list[int]
    accuracy: list[Estimate]
    repeats: int
    test_rows: int
    resplit: bool
    errors: NDArray[np.float64]
    advice: Advice


def learning_curve(
    rows: Labelled, choice: Choice, recipe: Recipe, parts: Sequence[_Part], *, resplit: bool
) -> LearningCurve | None:
    """The curve; None when there are too few rows for three points.

    Parameters
    ----------
    rows : Labelled
    choice : Choice
        The kind and setting.
    recipe : Recipe
        The scaling, and the seed.
    parts : sequence of (train, test)
        Places of rows, for each repeat.
    resplit : bool
        Whether the test rows of the parts differ.
    """
    sizes = _sizes(min(len(train) for train, _ in parts), _LEAST * len(rows.classes))
    if len(sizes) < 3:
        return None
    kind, setting = _stand_in(rows, choice, rows.take(parts[0][0]).fitted)

    def errors_of(at: int) -> list[float]:
        train, test = parts[at]
        order = train[_nested(rows.take(train), recipe.seed + at)]
        return [_error(rows, order[:size], test, recipe, kind, setting) for size in sizes]

    with quiet_single_threads(), ThreadPoolExecutor(cores()) as pool:
        errors = np.array(list(pool.map(errors_of, range(len(parts)))))
    test_share, tested = len(parts[0][1]) / len(rows.X), len(np.unique(np.concatenate([p[1] for p in parts])))
    return LearningCurve(
        kind=kind,
        sizes=sizes,
        accuracy=[_estimate(1 - column, test_share, tested, resplit) for column in errors.T],
        repeats=len(parts),
        test_rows=len(parts[0][1]),
        resplit=resplit,
        errors=errors,
        advice=advise(np.asarray(sizes, np.float64), errors, recipe.seed),
    )


def resplits(rows: Labelled, test_share: float, seed: int, count: int = REPEATS) -> list[_Part]:
    """Other splits like the first: stratified, groups together."""
    return list(repeated(rows.y, rows.groups, test_share, seed, count + 1))[1:]


def _stand_in(rows: Labelled, choice: Choice, count: int) -> tuple[str, Setting]:
    """The kind that is fitted, and its setting."""
    if count * len(rows.classes) <= SLOW.get(choice.kind, OWN_KIND):
        return choice.kind, choice.setting
    own = choice.setting if choice.kind == "ridge" else Setting(strength=STRENGTH)
    return "ridge", own


def _sizes(most: int, least: int) -> list[int]:
    shares = [0.75, *(0.5**power for power in range(1, POINTS - 1))]
    return [*sorted(size for share in shares if (size := round(share * most)) >= least), most]


def _nested(rows: Labelled, seed: int) -> NDArray[np.intp]:
    """An order of the rows of which every beginning has the classes in their shares, and each class soon."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(rows.groups, return_inverse=True)
    priority = rng.permutation(group.max() + 1)[group]
    turn = np.empty(len(priority))
    for label in np.unique(rows.strata):
        members = np.flatnonzero(rows.strata == label)
        turn[members[np.argsort(priority[members])]] = np.arange(len(members)) / len(members)
    return np.lexsort((priority, turn))


def _error(
    rows: Labelled,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    recipe: Recipe,
    kind: str,
    setting: Setting,
) -> float:
    """The share of wrong answers; of several labels an image each is one."""
    known = rows.take(train).augmented()
    scaling = recipe.scaling(known.X, known.weights)
    X, test_X = scaling(known.X), scaling(rows.X[test])

    def scores(y: Targets) -> NDArray[np.float64]:
        count = y.shape[1] if rows.multi_label else len(rows.classes)
        return (
            KINDS[kind].fitter(Rows(X, y, known.weights, count, recipe.seed), False)(setting).scores(test_X)
        )

    if not rows.multi_label:
        return float((scores(known.y).argmax(axis=1) != rows.y[test]).mean())
    every = known.y.all(axis=0)
    answers = np.repeat(np.atleast_2d(every), len(test), axis=0)
    varied = np.flatnonzero(known.y.any(axis=0) & ~every)  # few rows may all have a label, or none of them
    if len(varied):
        answers[:, varied] = scores(known.y[:, varied]) > 0
    return float((answers != rows.y[test]).mean())


def _estimate(values: NDArray[np.float64], test_share: float, rows: int, resplit: bool) -> Estimate:
    """The mean over repeats and its interval, which is no narrower than that of the images tested on.

    Parameters
    ----------
    values : array of shape (repeats,)
    test_share : float
        Of the rows that are held out in each repeat.
    rows : int
        Different rows that were tested on in all.
    resplit : bool
        Whether each repeat tested on others of them; where not, the repeats differ by what was fitted alone.
    """
    mean = float(values.mean())
    near = resampled_interval(values, test_share if resplit else 0.0)
    few = wilson_interval(mean * rows, rows)
    if resplit:
        low, high = min(near[0], few[0]), max(near[1], few[1])
    else:
        low, high = (
            mean + sign * math.hypot(near[at] - mean, few[at] - mean) for at, sign in ((0, -1), (1, 1))
        )
    return Estimate(mean, max(low, 0.0), min(high, 1.0))
