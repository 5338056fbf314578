"""From embedded images to a tested head."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from classifiers.dataset import Rejected, check_classes, check_test
from classifiers.evaluate import Metrics, evaluate
from classifiers.features import Features
from classifiers.fitting import fit
from classifiers.heads import Head, HeadManifest
from classifiers.penalty import Penalty, choose_penalty
from classifiers.recipes import Recipe
from classifiers.splits import split
from extractor.errors import FingerprintMismatch


@dataclass(frozen=True, slots=True)
class Training:
    """A head, how well it does, and how it came about.

    Attributes
    ----------
    head : Head
        Fitted on every row when a part of them was held out, on the training
        rows when test images were given: those stay unseen.
    metrics : Metrics
        Of a head fitted on the training rows alone, with the same penalty.
    penalty : Penalty
        Chosen on the training rows alone.
    rejected : list of Rejected
        Images that were left out of training or test.
    seconds : dict of float
        By stage.
    """

    head: Head
    metrics: Metrics
    penalty: Penalty
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
) -> Training:
    """Hold out a part, choose the penalty, fit, test, and fit again on everything.

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
    with _timed(seconds, "sweep"):
        penalty = choose_penalty(known.X, known.y, recipe, known.digests)
    with _timed(seconds, "fit"):
        pipeline, converged = fit(known.X, known.y, recipe, penalty)
    with _timed(seconds, "test"):
        majority = Counter(known.y.tolist()).most_common(1)[0][0]
        metrics = evaluate(pipeline.classes_.tolist(), unseen.y, pipeline.predict(unseen.X), majority)
    if test is None:
        with _timed(seconds, "refit"):
            pipeline, converged = fit(features.X, features.y, recipe, penalty)
    manifest = HeadManifest(
        name=name,
        kind=recipe.kind,
        classes=pipeline.classes_.tolist(),
        fingerprint=features.fingerprint,
        backbone=backbone,
        dim=features.X.shape[1],
        metrics=metrics.to_dict(),
        fitting={
            **asdict(recipe),
            "train": len(known.y),
            "test": len(unseen.y),
            "test_size": test_size if test is None else None,
            "refitted_on_all": test is None,
            "copies": features.copies,
            "strength": penalty.strength,
            "folds": penalty.folds,
            "converged": converged,
        },
    )
    rejected = known.rejected + (test.rejected if test else [])
    return Training(Head(manifest, pipeline), metrics, penalty, rejected, seconds)


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
