"""Which kind of head, where the user leaves it to cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS
from classifiers.kinds.rbf_svm import MOST_ROWS
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice, answered, tune

FEW_LABELS = 5
"""In the smallest class, below which the nearest class mean is tried, too."""

Note = Callable[[str], None]


def choose(labelled: Labelled, recipe: Recipe, note: Note | None = None) -> Choice:
    """The setting of the recipe's kind; of "auto", also the kind.

    Of two kinds the simpler is taken unless the other answers more held-out
    rows rightly, as they are weighted, by more than one standard error of the
    difference.

    Parameters
    ----------
    labelled : Labelled
    recipe : Recipe
    note : callable, optional
        Is told, in a line, how each kind did.
    """
    if recipe.kind != "auto":
        return tune(labelled, recipe, recipe.kind)
    best: Choice | None = None
    for kind in _candidates(labelled):
        choice = tune(labelled, recipe, kind)
        right, shares = _right(choice, labelled)
        if note:
            note(f"{KINDS[kind].title}: {shares @ right:.1%} of the held-out rows are answered rightly")
        if best is None or _better(right - _right(best, labelled)[0], shares):
            best = choice
    assert best
    return best


def _candidates(labelled: Labelled) -> Iterator[str]:
    """The kinds that suit so many rows, simplest first."""
    smallest = np.bincount(labelled.strata, minlength=len(labelled.classes)).min()
    for kind in KINDS:
        skipped = {
            "nearest-mean": labelled.multi_label or smallest >= FEW_LABELS,
            "knn": labelled.multi_label,
            "rbf-svm": labelled.fitted > MOST_ROWS,
        }
        if not skipped.get(kind, False):
            yield kind


def _right(choice: Choice, labelled: Labelled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which held-out rows are answered rightly, of several labels which share; and the rows' weights."""
    if not choice.folds:
        return np.zeros(1), np.ones(1)
    held = ~np.isnan(choice.logits[:, 0])
    weights = labelled.weights[held]
    return answered(choice.logits[held], labelled.y[held]), weights / weights.sum()


def _better(gain: NDArray[np.float64], shares: NDArray[np.float64]) -> bool:
    """Whether the mean gain is more than its standard error."""
    mean = shares @ gain
    return bool(mean > np.sqrt(np.square(shares) @ np.square(gain - mean)))
