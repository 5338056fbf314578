"""Everything that a report says of a head, computed from its training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.targets import Labelled
from classifiers.evaluation.calibration import Bin, calibration_error, chance_calibration_error, reliability
from classifiers.evaluation.curves import Curves, one_against_rest
from classifiers.evaluation.intervals import Estimate, mean_interval
from classifiers.evaluation.judged import Judged
from classifiers.evaluation.label_noise import Suspect, suspects
from classifiers.evaluation.learning_curve import REPEATS, LearningCurve, learning_curve, resplits
from classifiers.evaluation.neighbourhood import ALIKE, Neighbourhood, neighbourhood
from classifiers.evaluation.no_transfer import colours_accuracy
from classifiers.layers.model import probabilities
from classifiers.training.recipes import Recipe, quiet_single_threads

if TYPE_CHECKING:
    from classifiers.training.train import Training

Note = Callable[[str], None]


class Calibration(NamedTuple):
    """How far the probabilities of the test images are from what happens.

    Attributes
    ----------
    temperature : float
    before, after : float
        The expected calibration error without and with the temperature.
    by_chance : float
        What 95 % of test sets of this size stay below when the probabilities are right.
    bins_before, bins_after : list of Bin
    """

    temperature: float
    before: float
    after: float
    by_chance: float
    bins_before: list[Bin]
    bins_after: list[Bin]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What was found out about a head.

    Attributes
    ----------
    judged : Judged
        All rows, with what heads that had not seen them said.
    log_loss : Estimate
        On the test images, in nats; that of always giving the classes' shares
        is `prior_log_loss`.
    prior_log_loss : float
    train_accuracy : float
        On the rows that the tested head was fitted on.
    validation_accuracy : float or None
        Of cross-validation on the same rows; None when there was none.
    no_transfer : Estimate or None
        The accuracy that colours alone give; None where no images are at hand.
    calibration : Calibration
    curves : list of Curves
        For each class that the test images have.
    suspects : list of Suspect
    neighbourhood : Neighbourhood
    learning_curve : LearningCurve or None
    seconds : dict of float
        By stage.
    """

    judged: Judged
    log_loss: Estimate
    prior_log_loss: float
    train_accuracy: float
    validation_accuracy: float | None
    no_transfer: Estimate | None
    calibration: Calibration
    curves: list[Curves]
    suspects: list[Suspect]
    neighbourhood: Neighbourhood
    learning_curve: LearningCurve | None
    seconds: dict[str, float] = field(default_factory=dict)


def examine(training: Training, note: Note | None = None) -> Findings:
    """Find out everything about a head of one label an image.

    Parameters
    ----------
    training : Training
    note : callable, optional
        Is told, in a line, what is being done.
    """
    seconds: dict[str, float] = {}
    judged = Judged.of(training)
    truth = judged.labels[judged.held_out]
    share = np.bincount(judged.labels[~judged.held_out], minlength=len(judged.classes)) + 0.5
    with _timed(seconds, "examine", note):
        loss = -np.log(np.maximum(judged.probabilities[judged.held_out, truth], 1e-300))
        curves = _curves(judged)
        wrong = suspects(judged.probabilities, judged.labels)
        calibration = _calibration(training, truth)
    with _timed(seconds, "neighbours", note), quiet_single_threads():
        around = neighbourhood(judged.X, training.known.alike or ALIKE)
    with _timed(seconds, "baseline", note):
        colours = colours_accuracy(training.known, training.unseen)
    with _timed(seconds, "learning curve", note):
        learned = _learning(training, judged)
    return Findings(
        judged=judged,
        log_loss=Estimate(float(loss.mean()), *mean_interval(loss)),
        prior_log_loss=float(-np.log(share / share.sum())[truth].mean()),
        train_accuracy=_right(training.tested.scores(training.known.X), judged.labels[~judged.held_out]),
        validation_accuracy=_validated(training, judged),
        no_transfer=colours,
        calibration=calibration,
        curves=curves,
        suspects=wrong,
        neighbourhood=around,
        learning_curve=learned,
        seconds=seconds,
    )


def _curves(judged: Judged) -> list[Curves]:
    told, truth = judged.probabilities[judged.held_out], judged.labels[judged.held_out]
    each = (one_against_rest(label, told[:, at], truth == at) for at, label in enumerate(judged.classes))
    return [curves for curves in each if curves]


def _calibration(training: Training, truth: NDArray[np.int64]) -> Calibration:
    heat = training.tested.temperature
    raw, cooled = probabilities(training.logits * heat), probabilities(training.logits)
    return Calibration(
        temperature=heat,
        before=calibration_error(raw, truth),
        after=calibration_error(cooled, truth),
        by_chance=chance_calibration_error(cooled),
        bins_before=reliability(raw, truth),
        bins_after=reliability(cooled, truth),
    )


def _validated(training: Training, judged: Judged) -> float | None:
    logits = training.choice.logits
    if not training.choice.folds:
        return None
    held = ~np.isnan(logits[:, 0])
    return _right(logits[held], judged.labels[~judged.held_out][held])


def _right(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    return float((scores.argmax(axis=1) == truth).mean())


def _learning(training: Training, judged: Judged) -> LearningCurve | None:
    """Over other splits of all images, or on the test images that were given."""
    fitting = training.head.manifest.fitting
    recipe = Recipe(scale=fitting["scale"], seed=fitting["seed"], class_weight=fitting["class_weight"])
    rows = Labelled.of(
        judged.X,
        judged.labels,
        classes=range(len(judged.classes)),
        groups=judged.groups,
        weights=judged.weights,
        class_weight=_by_place(recipe.class_weight, judged.classes),
        views=training.known.views_beside(training.unseen),
    )
    given = fitting["test_size"] is None
    if given:
        parts = [(np.flatnonzero(~judged.held_out), np.flatnonzero(judged.held_out))] * REPEATS
    else:
        parts = resplits(rows, fitting["test_size"], recipe.seed)
    return learning_curve(rows, training.choice, recipe, parts, resplit=not given)


def _by_place(
    weight: Literal["balanced"] | Mapping[str, float] | None, classes: list[str]
) -> Literal["balanced"] | Mapping[int, float] | None:
    """Class weights by the places of the classes."""
    if isinstance(weight, Mapping):
        return {classes.index(label): each for label, each in weight.items()}
    return weight


@contextmanager
def _timed(seconds: dict[str, float], stage: str, note: Note | None) -> Iterator[None]:
    if note:
        note(f"report: {stage} …")
    begun = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begun, 3)
