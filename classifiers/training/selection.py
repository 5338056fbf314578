"""Which kind of head, where the user leaves it to cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS
from classifiers.kinds.rbf_svm import MOST_ROWS
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice, answered, paired, tune

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
        rivals.append((choice, _right(choice, labelled)))
        if note and choice.folds:
            share = rivals[-1][1].share
            note(f"{KINDS[kind].title}: {share:.1%} of the held-out rows are answered rightly")
    best, most = max(rivals, key=lambda each: round(each[1].share, 9))
    taken = next(choice for choice, right in rivals if not most.better(right))
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


class _Right(NamedTuple):
    """Which held-out rows are answered rightly, of several labels which share; their weights and groups."""

    answers: NDArray[np.float64]
    weights: NDArray[np.float64]
    groups: NDArray[Any]

    @property
    def share(self) -> float:
        return float(np.average(self.answers, weights=self.weights))

    def better(self, other: _Right) -> bool:
        """Whether it is by more than the standard error of the difference."""
        gain, error = paired(self.answers - other.answers, self.weights, self.groups)
        return gain > error


def _right(choice: Choice, labelled: Labelled) -> _Right:
    if not choice.folds:
        return _Right(np.zeros(1), np.ones(1), np.zeros(1))
    held = ~np.isnan(choice.logits[:, 0])
    answers = answered(choice.logits[held], labelled.y[held])
    return _Right(answers, labelled.weights[held], labelled.groups[held])
