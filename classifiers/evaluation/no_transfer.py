"""The accuracy that the pictures' colours alone give, on the same split: what a backbone has to beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifiers.data.features import Features
from classifiers.data.targets import Labelled
from classifiers.evaluation.baselines import Colours
from classifiers.evaluation.intervals import Estimate, wilson_interval
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from extractor.results import Vector

MOST_KNOWN, MOST_UNSEEN = 2000, 1000
"""Images that are looked at; of more, so many drawn at random."""

_ENOUGH = 0.9  # of the images must be at hand


def colours_accuracy(known: Features, unseen: Features, seed: int = 0) -> Estimate | None:
    """Fit logistic regression on the colours of the known images, and test it on the unseen.

    Returns
    -------
    Estimate or None
        None where the images are not at hand as files, or hardly any class is left.
    """
    (X, y), (test_X, test_y) = (
        _coloured(features, most, seed) for features, most in ((known, MOST_KNOWN), (unseen, MOST_UNSEEN))
    )
    keep = np.isin(test_y, np.unique(y))
    if len(np.unique(y)) < 2 or not keep.any():
        return None
    rows, recipe = Labelled.of(X, y), Recipe(seed=seed)
    model, _ = fit(rows, recipe, choose(rows, recipe))
    answers = np.asarray(rows.classes)[model.scores(test_X[keep]).argmax(axis=1)]
    right = int((answers == test_y[keep]).sum())
    return Estimate(right / len(test_y), *wilson_interval(right, len(test_y)))


def _coloured(features: Features, most: int, seed: int) -> tuple[Vector, NDArray[np.str_]]:
    """Colour features and labels of the images that can be read; none when too few are files."""
    rows = np.arange(len(features.images))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    there = [row for row in rows.tolist() if Path(features.images[row]).is_file()]
    if len(there) < _ENOUGH * len(rows):
        there = []
    with Colours() as colours:
        results = colours.embed([features.images[row] for row in there])
    found = [
        (row, result.embedding)
        for row, result in zip(there, results, strict=True)
        if result.embedding is not None
    ]
    X = np.array([vector for _, vector in found], np.float32).reshape(len(found), Colours.dim)
    return X, features.y[[row for row, _ in found]] if found else features.y[:0]
