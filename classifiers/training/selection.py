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

Note = Callable[[str], object]


def choose(labelled: Labelled, recipe: Recipe, note: Note | None = None, tried: Note | None = None) -> Choice:
    """The setting of the recipe's kind; of "auto", also the kind.

    The simplest kind is taken that answers as many held-out rows rightly, as they
    are weighted, as the kind with the most of them, but for one standard error of
    the difference: the rule of L. Breiman, J. Friedman, R. Olshen and C. Stone,
    "Classification and Regression Trees" (1984), of answers to the same rows.

    Parameters
    ----------
    labelled : Labelled
    recipe : Recipe
    note : callable, optional
        Is told, in a line each, how each kind did, and why one is taken.
    tried : callable, optional
        Is told, in a line, of each setting how it did; what it raises ends the search.
    """
    if recipe.kind != "auto":
        return tune(labelled, recipe, recipe.kind, tried)
    rivals = []
    for kind in _candidates(labelled):
        choice = tune(labelled, recipe, kind, tried)
        rivals.append((choice, *_right(choice, labelled)))
        if note and choice.folds:
            _, right, shares = rivals[-1]
            note(f"{KINDS[kind].title}: {shares @ right:.1%} of the held-out rows are answered rightly")
    best, most, shares = max(rivals, key=lambda each: round(float(each[2] @ each[1]), 9))
    taken = next(choice for choice, right, _ in rivals if not _better(most - right, shares))
    if note:
        note(_reason(taken, best))
    return taken


def _reason(taken: Choice, best: Choice) -> str:
    title = KINDS[taken.kind].title
    if not taken.folds:
        return f"{title} is taken, the simplest: there are too few images to hold any out"
    if taken is best:
        return f"{title} is taken: the most, and no simpler kind comes within one standard error of it"
    return (
        f"{title} is taken: the simplest that is not worse than {KINDS[best.kind].title} by more than one "
        "standard error of the difference"
    )


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
