"""From embedded images to a tested head."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from classifiers.data.dataset import Rejected
from classifiers.data.features import Features
from classifiers.data.sides import Sides, sides
from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.evaluation.evaluate import Metrics, evaluate
from classifiers.evaluation.multi_label import best_thresholds, evaluate_several
from classifiers.heads import Head, HeadManifest
from classifiers.layers import Model
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe, quiet_single_threads
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice

Note = Callable[[str], object]

STAGES = {
    "sweep": "choosing the settings",
    "fit": "fitting with the settings that were best",
    "test": "testing on the held-out images",
    "refit": "fitting on all images",
    "unknowns": "measuring what is of no class",
}
"""What is done in each stage of a training."""

_Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Around a stage, which it is given the name of."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A head, how well it does, and how it came about.

    Attributes
    ----------
    head : Head
        Fitted on every row when a part of them was held out, on the training
        rows when test images were given: those stay unseen.
    known, unseen : Features
        What was fitted on, and what was held out.
    tested : Model
        Fitted on the known rows alone; what `metrics` and `logits` are of.
    logits : float64 array of shape (len(unseen.y), classes)
        What it said of the unseen rows, divided by its temperature.
    metrics : Metrics
    choice : Choice
        The kind and setting, chosen on the known rows alone, and what
        cross-validation said of these.
    rejected : list of Rejected
        Images that were left out of training or test.
    seconds : dict of float
        By stage.
    aside : Features or None
        What the saved head was fitted on as well, and the tested one was not: rows
        too near to one that was held out.
    """

    head: Head
    known: Features
    unseen: Features
    tested: Model
    logits: NDArray[np.float64]
    metrics: Metrics
    choice: Choice
    rejected: list[Rejected]
    seconds: dict[str, float]
    aside: Features | None = None


def train(
    name: str,
    features: Features,
    test: Features | None = None,
    *,
    backbone: str,
    recipe: Recipe | None = None,
    test_size: float = 0.25,
    note: Note | None = None,
    stage: Note | None = None,
    tried: Note | None = None,
) -> Training:
    """Hold out a part, choose the setting, fit, test, and fit again on everything.

    Parameters
    ----------
    name : str
        Of the head.
    features : Features
    test : Features, optional
        Test on these rather than on a held-out part of `features`.
    backbone : str
        The name of the backbone that made the features.
    recipe : Recipe, optional
    test_size : float
        The share of each class that is held out when `test` is not given.
    note : callable, optional
        Is told, in a line, what is being done.
    stage : callable, optional
        Is told of each stage, as `STAGES` names it, when it begins.
    tried : callable, optional
        Is told, in a line, of each setting how it did; what it raises ends the training.

    Raises
    ------
    InvalidArgument
        When there is one class only, a class has one distinct image, or the test images have another.
    FingerprintMismatch
        When `features` and `test` were made by two backbones.
    """
    recipe, seconds = recipe or Recipe(), dict[str, float]()
    timed = partial(_timed, seconds, stage)
    parted = sides(features, test, test_size, recipe.seed)
    trial = _tried(parted, recipe, timed, partial(choose, note=note, tried=tried))
    model, converged = _for_use(parted, recipe, timed, trial)
    with timed("unknowns"), quiet_single_threads():
        statistics = Statistics.of(_labelled(parted.refit or parted.known, recipe), recipe.seed)
        rejection = _unknowns(trial.rows, parted.unseen, recipe.seed)
    share = None if test or features.parts.any() else test_size
    facts = {**asdict(recipe), **_counts(parted, features), "test_size": share, "converged": converged}
    head = Head(_manifest(name, backbone, features, trial, facts), model, statistics, rejection)
    outcome = trial.model, trial.logits, trial.metrics, trial.choice
    return Training(head, parted.known, parted.unseen, *outcome, _rejected(parted), seconds, parted.aside)


def _rejected(parted: Sides) -> list[Rejected]:
    """Of both sides, each once."""
    return list(dict.fromkeys(parted.known.rejected + parted.unseen.rejected))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """What was fitted on the known rows alone, and how it did on the others."""

    rows: Labelled
    choice: Choice
    model: Model
    converged: bool
    logits: NDArray[np.float64]
    thresholds: list[float]
    metrics: Metrics


def _tried(
    parted: Sides, recipe: Recipe, timed: _Timed, chosen: Callable[[Labelled, Recipe], Choice]
) -> _Trial:
    known, unseen = parted.known, parted.unseen
    rows = _labelled(known, recipe)
    with timed("sweep"):
        choice = chosen(rows, recipe)
    with timed("fit"):
        model, converged = fit(rows, recipe, choice)
    with timed("test"):
        logits = model.scores(unseen.X) / model.temperature
        thresholds = _thresholds(rows, choice)
        metrics = _metrics(rows, known, unseen, logits, thresholds)
    return _Trial(rows, choice, model, converged, logits, thresholds, metrics)


def _for_use(parted: Sides, recipe: Recipe, timed: _Timed, trial: _Trial) -> tuple[Model, bool]:
    """What is kept: fitted again on every row, unless the user has said which are to stay unseen."""
    if parted.refit is None:
        return trial.model, trial.converged
    with timed("refit"):
        return fit(_labelled(parted.refit, recipe), recipe, trial.choice)


def _manifest(
    name: str, backbone: str, features: Features, trial: _Trial, facts: dict[str, Any]
) -> HeadManifest:
    choice = trial.choice
    return HeadManifest(
        name=name,
        kind=choice.kind,
        classes=list(trial.rows.classes),
        fingerprint=features.fingerprint,
        backbone=backbone,
        dim=features.X.shape[1],
        metrics=trial.metrics.to_dict(),
        thresholds=trial.thresholds,
        fitting=facts | choice.setting.named() | {"folds": choice.folds},
    )


def _labelled(features: Features, recipe: Recipe) -> Labelled:
    return Labelled.of(
        features.X,
        features.y,
        classes=features.classes or None,
        groups=features.groups,
        weights=features.weights,
        class_weight=recipe.class_weight,
        views=features.views,
    )


def _counts(parted: Sides, features: Features) -> dict[str, Any]:
    """Rows of each side, and what is known of rows that belong together."""
    known, unseen = parted.known, parted.unseen
    return {
        "train": len(known.y),
        "test": len(unseen.y),
        "groups": len({*known.groups.tolist(), *unseen.groups.tolist()}),
        "copies": features.copies,
        "alike": features.alike,
        "refitted_on_all": parted.refit is not None,
        **({"aside": len(parted.aside.y)} if parted.aside and len(parted.aside.y) else {}),
        **_views(features),
    }


def _views(features: Features) -> dict[str, Any]:
    if not features.augment:
        return {}
    return {
        "augment": list(features.augment),
        "views": features.views.shape[1],
        "unviewed": features.unviewed,
    }


def _unknowns(rows: Labelled, unseen: Features, seed: int) -> Rejection | None:
    rejection = Rejection.fit(rows, seed)
    return rejection.tested(unseen.X) if rejection else None


def _thresholds(rows: Labelled, choice: Choice) -> list[float]:
    """Of each label, where an image may have several; by what was said of rows held out."""
    if not rows.multi_label:
        return []
    if not choice.folds:
        return [0.5] * len(rows.classes)
    return best_thresholds(expit(choice.logits / choice.temperature), rows.y)


def _metrics(
    rows: Labelled, known: Features, unseen: Features, logits: NDArray[np.float64], thresholds: list[float]
) -> Metrics:
    if rows.multi_label:
        return evaluate_several(rows.classes, unseen.y, expit(logits) >= thresholds, known.y)
    majority = Counter(known.y.tolist()).most_common(1)[0][0]
    return evaluate(rows.classes, unseen.y, np.asarray(rows.classes)[logits.argmax(axis=1)], majority)


@contextmanager
def _timed(seconds: dict[str, float], told: Note | None, stage: str) -> Iterator[None]:
    if told:
        told(STAGES[stage])
    begun = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begun, 3)
