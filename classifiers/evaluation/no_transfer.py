"""The accuracy that the pictures' colours alone give, on the same split: what a backbone has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from classifiers.data.features import Features
from classifiers.data.targets import Labelled
from classifiers.evaluation.baselines import Colours
from classifiers.evaluation.intervals import Estimate, wilson_interval
from classifiers.evaluation.multi_label import best_thresholds
from classifiers.kinds import Targets
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from extractor.results import Vector

MOST_KNOWN, MOST_UNSEEN = 1000, 1000
"""Images that are looked at; of more, so many drawn at random."""

_ENOUGH = 0.9  # of the images must be at hand


class Coloured(NamedTuple):
    """What colours alone say of test images.

    Attributes
    ----------
    accuracy : Estimate
        The share of right answers; of several labels an image, all of them right.
    rows : int array of shape (m,)
        The places of the test images that were looked at.
    right : bool array of shape (m,)
    """

    accuracy: Estimate
    rows: NDArray[np.intp]
    right: NDArray[np.bool_]


def colours_alone(known: Features, unseen: Features, seed: int = 0) -> Coloured | None:
    """Fit logistic regression on the colours of the known images, and test it on the unseen.

    Returns
    -------
    Coloured or None
        None where the images are not at hand as files, or hardly any class is left.
    """
    (X, some), (test_X, tested) = (
        _coloured(features, most, seed) for features, most in ((known, MOST_KNOWN), (unseen, MOST_UNSEEN))
    )
    y, truth = known.y[some], unseen.y[tested]
    if not len(y) or not len(truth) or len(np.unique(y, axis=0)) < 2:
        return None
    answer = _several if known.multi_label else _one
    same = answer(X, y, known.groups[some], test_X, seed) == truth
    right = np.asarray(same.all(axis=1) if known.multi_label else same)
    hits = int(right.sum())
    estimate = Estimate(hits / len(right), *wilson_interval(hits, len(right)))
    return Coloured(estimate, tested, right)


def _one(X: Vector, y: Targets, groups: NDArray[Any], test_X: Vector, seed: int) -> NDArray[Any]:
    rows, recipe = Labelled.of(X, y, groups=groups), Recipe(seed=seed)
    model, _ = fit(rows, recipe, choose(rows, recipe))
    named: NDArray[Any] = np.asarray(rows.classes)[model.scores(test_X).argmax(axis=1)]
    return named


def _several(X: Vector, y: Targets, groups: NDArray[Any], test_X: Vector, seed: int) -> NDArray[np.bool_]:
    """Which labels; one that all of the images have, or none, is answered as they have it."""
    answers = np.repeat(np.atleast_2d(y.all(axis=0)), len(test_X), axis=0)
    varied = np.flatnonzero(y.any(axis=0) & ~y.all(axis=0))
    if len(varied) < 2:
        return answers
    rows, recipe = Labelled.of(X, y[:, varied], groups=groups), Recipe(seed=seed)
    choice = choose(rows, recipe)
    model, _ = fit(rows, recipe, choice)
    thresholds = best_thresholds(expit(choice.logits), rows.y) if choice.folds else [0.5] * len(varied)
    answers[:, varied] = expit(model.scores(test_X)) >= thresholds
    return answers


def _coloured(features: Features, most: int, seed: int) -> tuple[Vector, NDArray[np.intp]]:
    """Colour features of the images that can be read, and their rows; none when too few are files."""
    rows = np.arange(len(features.images))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    there = [row for row in rows.tolist() if Path(features.images[row]).is_file()]
    if len(there) < _ENOUGH * len(rows):
        there = []
    with Colours() as colours:
        results = colours.embed([features.images[row] for row in there])
    found = {
        row: result.embedding
        for row, result in zip(there, results, strict=True)
        if result.embedding is not None
    }
    X = np.array([*found.values()], np.float32).reshape(len(found), Colours.dim)
    return X, np.array([*found], np.intp)
