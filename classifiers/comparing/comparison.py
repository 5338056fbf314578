"""Which embeddings suit a task: the same head on each, fitted and tested on the same folds.

Every distinct picture is answered once, by a head that was fitted without it,
and all figures are of these answers together. The intervals are those of
independent pictures, made wider: heads whose training parts overlap err
together. By C. Nadeau and Y. Bengio ("Inference for the Generalization Error",
Machine Learning 52, 2003) the results of k folds are taken to be correlated by
1/k, so that n answers weigh as much as n k / (2k - 1) independent ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifiers.data.dataset import Rejected, check_classes
from classifiers.data.features import Features
from classifiers.data.splits import FOLDS, Rows, folds
from classifiers.data.targets import Labelled
from classifiers.evaluation.evaluate import Metrics, evaluate, wilson_interval
from classifiers.evaluation.paired import Difference, difference
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose

MAJORITY = "majority class"
"""The name of the baseline that looks at no picture."""

Mark: TypeAlias = Literal["best", "alike", ""]
Labels: TypeAlias = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Entrant:
    """Embeddings that are compared, and what making them costs.

    Attributes
    ----------
    name : str
    features : Features
    baseline : bool
        Whether nothing in it was learnt from other pictures.
    images_per_second : float, optional
    bundle_bytes : int, optional
    """

    name: str
    features: Features
    baseline: bool = False
    images_per_second: float | None = None
    bundle_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
    entrant : Entrant or None
        None for the majority class.
    metrics : Metrics
        Of the answers to every picture; its interval allows for the folds.
    converged : bool
        Whether every fit did.
    gain : Difference or None
        Over the best baseline; None for a baseline.
    mark : {"best", "alike", ""}
        The most accurate, and those that may be as accurate.
    """

    name: str
    entrant: Entrant | None
    metrics: Metrics
    converged: bool = True
    gain: Difference | None = None
    mark: Mark = ""

    @property
    def baseline(self) -> bool:
        """Whether nothing in it was learnt from other pictures."""
        return self.entrant is None or self.entrant.baseline

    @property
    def negative_transfer(self) -> bool:
        """Whether it is a backbone that does not beat the best baseline beyond chance."""
        return self.gain is not None and not self.gain.above


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows, the most accurate first, and what they were measured on.

    Attributes
    ----------
    rows : list of Row
    recipe : Recipe
    folds : int
    pictures : dict of int
        Distinct ones of each class; each counts once.
    copies : int
        How many images repeat the picture of another, and were left out.
    rejected : list of Rejected
        Images that were left out since one entrant at least could not use them.
    """

    rows: list[Row]
    recipe: Recipe
    folds: int
    pictures: dict[str, int]
    copies: int
    rejected: list[Rejected]

    @property
    def best_baseline(self) -> Row:
        """What a backbone has to beat."""
        return next(row for row in self.rows if row.baseline)


def compare(
    entrants: Sequence[Entrant],
    recipe: Recipe | None = None,
    count: int = FOLDS,
    note: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Fit and test the same head on each, beside the majority class.

    Parameters
    ----------
    entrants : sequence of Entrant
        At least one, all of one data set.
    recipe : Recipe, optional
        Its seed is that of the folds too.
    count : int
        Folds, at least 2; fewer are made where no class has so many pictures.
    note : callable
        Is told each entrant's name before its heads are fitted.

    Raises
    ------
    InvalidArgument
        When there is one class only, or a class has one distinct picture.
    """
    recipe = recipe or Recipe()
    alike = aligned([entrant.features for entrant in entrants])
    y, digests = alike[0].y, alike[0].digests
    check_classes(y.tolist(), digests.tolist())
    held = folds(y, digests, recipe.seed, count)
    answers, converged = [majority_answers(y, held)], [True]
    for entrant, features in zip(entrants, alike, strict=True):
        note(entrant.name)
        ours, ended = out_of_fold(features, held, recipe)
        answers.append(ours)
        converged.append(ended)
    number = int(held.max()) + 1
    rows = [
        Row(entrant.name if entrant else MAJORITY, entrant, _metrics(y, each, number), ended)
        for entrant, each, ended in zip([None, *entrants], answers, converged, strict=True)
    ]
    return Comparison(
        rows=_ranked(rows, [each == y for each in answers], number),
        recipe=recipe,
        folds=number,
        pictures=dict(sorted(Counter(y.tolist()).items())),
        copies=max(entrant.features.copies for entrant in entrants),
        rejected=_rejected(entrants),
    )


def aligned(several: Sequence[Features]) -> list[Features]:
    """The same distinct pictures in the same order of each: those that all of them have.

    Of copies of one picture the first that all have stays.
    """
    kept = list(several)
    shared = set.intersection(*(set(zip(each.images, each.digests.tolist(), strict=True)) for each in kept))
    first: dict[str, str] = {}
    for image, digest in zip(kept[0].images, kept[0].digests.tolist(), strict=True):
        if (image, digest) in shared:
            first.setdefault(digest, image)
    chosen = set(first.values())
    rows = ([row for row, image in enumerate(each.images) if image in chosen] for each in kept)
    return [each.take(np.array(own, dtype=np.intp)) for each, own in zip(kept, rows, strict=True)]


def out_of_fold(features: Features, held: Rows, recipe: Recipe) -> tuple[Labels, bool]:
    """Every row's answer by a head that was fitted without the row's fold.

    The penalty is chosen inside each training part.

    Parameters
    ----------
    features : Features
    held : int array of shape (n,)
        Each row's fold.
    recipe : Recipe

    Returns
    -------
    str array of shape (n,)
    bool
        Whether every fit converged.
    """
    X, y, digests = features.X, features.y, features.digests
    answers, converged = np.empty_like(y), True
    for known, unseen in _parts(held):
        rows = Labelled.of(X[known], y[known], groups=digests[known], class_weight=recipe.class_weight)
        model, ended = fit(rows, recipe, choose(rows, recipe))
        answers[unseen] = np.asarray(rows.classes)[model.scores(X[unseen]).argmax(axis=1)]
        converged &= ended
    return answers, converged


def majority_answers(y: Labels, held: Rows) -> Labels:
    """For every row, the most frequent class of the other folds."""
    answers = np.empty_like(y)
    for known, unseen in _parts(held):
        answers[unseen] = Counter(y[known].tolist()).most_common(1)[0][0]
    return answers


def accuracy_interval(right: int, n: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the share of right answers, allowing for `count` folds."""
    weight = weight_of(count)
    return wilson_interval(right * weight, n * weight)


def weight_of(count: int) -> float:
    """What one answer of a cross-validation weighs against an independent one; see above."""
    return count / (2 * count - 1)


def _parts(held: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Of each fold, the rows to fit on and the rows that are held out."""
    for fold in range(held.max() + 1):
        yield np.flatnonzero(held != fold), np.flatnonzero(held == fold)


def _metrics(y: Labels, answers: Labels, count: int) -> Metrics:
    majority = Counter(y.tolist()).most_common(1)[0][0]
    metrics = evaluate(np.unique(y).tolist(), y, answers, majority)
    interval = accuracy_interval(int((answers == y).sum()), len(y), count)
    return replace(metrics, interval=interval)


def _ranked(rows: list[Row], right: list[NDArray[np.bool_]], count: int) -> list[Row]:
    """The rows with their differences and marks, the most accurate first."""
    shares = [each.mean() for each in right]
    order = sorted(range(len(rows)), key=lambda at: (-shares[at], rows[at].entrant is None, rows[at].name))
    best, weight = right[order[0]], weight_of(count)
    bar = right[next(at for at in order if rows[at].baseline)]

    def judged(at: int) -> Row:
        gain = None if rows[at].baseline else difference(right[at], bar, weight)
        alike = not difference(best, right[at], weight).above
        return replace(rows[at], gain=gain, mark="best" if at == order[0] else "alike" if alike else "")

    return [judged(at) for at in order]


def _rejected(entrants: Sequence[Entrant]) -> list[Rejected]:
    """What any of them left out, each image once, with the first reason."""
    reasons: dict[str, Rejected] = {}
    for entrant in entrants:
        for each in entrant.features.rejected:
            reasons.setdefault(each.image, each)
    return sorted(reasons.values(), key=lambda each: each.image)
