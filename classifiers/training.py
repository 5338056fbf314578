"""From embedded images to a tested head."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.dataset import Rejected, check_classes, check_test
from classifiers.evaluate import Metrics, evaluate
from classifiers.features import Features
from classifiers.fitting import fit
from classifiers.heads import Head, HeadManifest
from classifiers.layers import Model
from classifiers.recipes import Recipe, quiet_single_threads
from classifiers.rejection import Rejection
from classifiers.selection import choose
from classifiers.splits import split
from classifiers.statistics import Statistics
from classifiers.targets import Labelled
from classifiers.tuning import Choice
from extractor.errors import FingerprintMismatch

Note = Callable[[str], None]


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


def train(
    name: str,
    features: Features,
    test: Features | None = None,
    *,
    backbone: str,
    recipe: Recipe | None = None,
    test_size: float = 0.25,
    note: Note | None = None,
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

    Raises
    ------
    InvalidArgument
        When there is one class only, a class has one distinct image, or the
        test images have a class of their own.
    FingerprintMismatch
        When `features` and `test` were made by two backbones.
    """
    recipe = recipe or Recipe()
    known, unseen = _parts(features, test, test_size, recipe.seed)
    seconds: dict[str, float] = {}
    rows = _labelled(known, recipe)
    with _timed(seconds, "sweep"):
        choice = choose(rows, recipe, note)
    with _timed(seconds, "fit"):
        model, converged = fit(rows, recipe, choice)
    with _timed(seconds, "test"):
        logits = model.scores(unseen.X) / model.temperature
        majority = Counter(known.y.tolist()).most_common(1)[0][0]
        answers = np.asarray(rows.classes)[logits.argmax(axis=1)]
        metrics = evaluate(rows.classes, unseen.y, answers, majority)
    head, tested = model, model
    if test is None:
        with _timed(seconds, "refit"):
            head, converged = fit(_labelled(features, recipe), recipe, choice)
    with _timed(seconds, "unknowns"), quiet_single_threads():
        statistics = Statistics.of(_labelled(features if test is None else known, recipe), recipe.seed)
        rejection = Rejection.fit(rows, recipe.seed)
        rejection = rejection.tested(unseen.X) if rejection else None
    manifest = HeadManifest(
        name=name,
        kind=choice.kind,
        classes=list(rows.classes),
        fingerprint=features.fingerprint,
        backbone=backbone,
        dim=features.X.shape[1],
        metrics=metrics.to_dict(),
        fitting={
            **asdict(recipe),
            **choice.setting.named(),
            "train": len(known.y),
            "test": len(unseen.y),
            "test_size": test_size if test is None else None,
            "refitted_on_all": test is None,
            "copies": features.copies,
            "folds": choice.folds,
            "converged": converged,
        },
    )
    rejected = known.rejected + (test.rejected if test else [])
    fitted = Head(manifest, head, statistics, rejection)
    return Training(fitted, known, unseen, tested, logits, metrics, choice, rejected, seconds)


def _labelled(features: Features, recipe: Recipe) -> Labelled:
    return Labelled.of(features.X, features.y, groups=features.digests, class_weight=recipe.class_weight)


def _parts(
    features: Features, test: Features | None, test_size: float, seed: int
) -> tuple[Features, Features]:
    """The rows to train on, and those to test on."""
    if test is None:
        check_classes(features.y.tolist(), features.digests.tolist())
        train_rows, test_rows = split(features.y, features.digests, test_size, seed)
        return features.take(train_rows), features.take(test_rows)
    if test.fingerprint != features.fingerprint:
        raise FingerprintMismatch("the test set", features.fingerprint, test.fingerprint)
    check_test(features.y.tolist(), features.digests.tolist(), test.y.tolist(), test.digests.tolist())
    known = features.without(test)
    check_classes(known.y.tolist(), known.digests.tolist())
    return known, test


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begun, 3)
