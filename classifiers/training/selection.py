"""Which kind of head, where the user leaves it to cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS
from classifiers.kinds.rbf_svm import MOST_ROWS
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice, answered, paired, tune

FEW_LABELS = 5
"""In the smallest class, below which the nearest class mean is tried, too.

Of more it is hardly ever the best, but few held-out rows cannot tell it from the best: taken as the simplest,
it answered 0.5 to 2 points fewer rightly on average (24, 48 and 96 solar cells, 120 cuts of 20 pictures).
"""

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
    unsuited, rivals = _unsuited(labelled), []
    for kind in KINDS:
        if kind in unsuited:
            _tell(note, f"{KINDS[kind].title}: not tried, {unsuited[kind]}")
            continue
        choice = tune(labelled, recipe, kind, tried)
        rivals.append((choice, _right(choice, labelled)))
        if choice.folds:
            share = rivals[-1][1].share
            _tell(note, f"{KINDS[kind].title}: {share:.1%} of the held-out rows are answered rightly")
    best, most = max(rivals, key=lambda each: each[1].rank)
    taken = next(choice for choice, right in rivals if not most.better(right))
    alike = [choice for choice, right in rivals if choice is not best and right.rank == most.rank]
    _tell(note, _reason(taken, best, alike, first=taken is rivals[0][0]))
    return taken


def _tell(note: Note | None, line: str) -> None:
    if note:
        note(line)


def _reason(taken: Choice, best: Choice, alike: list[Choice], *, first: bool) -> str:
    """Why a kind is taken, where `alike` are as often right as the best; the first tried is the simplest."""
    title = KINDS[taken.kind].title
    if not taken.folds:
        return f"{title} is taken, the simplest: there are too few images to hold any out"
    if taken is best:
        others = ", ".join(KINDS[choice.kind].title for choice in alike)
        why = f"as many as with {others}, and simpler" if alike else "the most"
        simpler = "" if first else "; no kind that is simpler still comes within one standard error of it"
        return f"{title} is taken: {why}{simpler}"
    return (
        f"{title} is taken: the simplest that is not worse than {KINDS[best.kind].title} by more than one "
        "standard error of the difference"
    )


def _unsuited(labelled: Labelled) -> dict[str, str]:
    """The kinds that do not suit such rows, and why."""
    smallest = np.bincount(labelled.strata, minlength=len(labelled.classes)).min()
    found = {}
    if labelled.multi_label:
        found = dict.fromkeys(("nearest-mean", "knn"), "it gives an image one label")
    elif smallest >= FEW_LABELS:
        found["nearest-mean"] = f"every class has {FEW_LABELS} images or more to choose by"
    if labelled.fitted > MOST_ROWS:
        found["rbf-svm"] = f"there are more than {MOST_ROWS:,} images"
    return found


class _Right(NamedTuple):
    """Which held-out rows are answered rightly, of several labels which share; their weights and groups."""

    answers: NDArray[np.float64]
    weights: NDArray[np.float64]
    groups: NDArray[Any]

    @property
    def share(self) -> float:
        return float(np.average(self.answers, weights=self.weights))

    @property
    def rank(self) -> float:
        """The share, but for what adding up in another order changes."""
        return round(self.share, 9)

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
