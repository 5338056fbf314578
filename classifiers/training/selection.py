"""Which kind of head, where the user leaves it to cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS, Targets
from classifiers.kinds.rbf_svm import MOST_ROWS
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice, tune

FEW_LABELS = 5
"""In the smallest class, below which the nearest class mean is tried, too."""

Note = Callable[[str], None]


def choose(labelled: Labelled, recipe: Recipe, note: Note | None = None) -> Choice:
    """The setting of the recipe's kind; of "auto", also the kind.

    Of two kinds the simpler is taken unless the other answers more held-out
    rows rightly, by more than one standard error of the difference.

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
        right = _right(choice, labelled.y)
        if note:
            note(f"{KINDS[kind].title}: {right.mean():.1%} of the held-out rows are answered rightly")
        if best is None or _better(right, _right(best, labelled.y)):
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
            "rbf-svm": len(labelled.X) > MOST_ROWS,
        }
        if not skipped.get(kind, False):
            yield kind


def _right(choice: Choice, y: Targets) -> NDArray[np.float64]:
    """Which held-out rows were answered rightly; with several labels, which share of them."""
    if not choice.folds:
        return np.zeros(1)
    held = ~np.isnan(choice.logits[:, 0])
    logits, truth = choice.logits[held], y[held]
    if truth.ndim == 2:
        right: NDArray[np.float64] = ((logits > 0) == truth).mean(axis=1)
    else:
        right = (logits.argmax(axis=1) == truth).astype(np.float64)
    return right


def _better(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    difference = one - other
    error = float(difference.std()) / max(len(difference), 1) ** 0.5
    return bool(difference.mean() > error)
