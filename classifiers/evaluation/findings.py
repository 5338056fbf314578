"""Everything that a report says of a head, computed from its training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logit

from classifiers.data.targets import Labelled
from classifiers.evaluation.calibration import Bin, calibration_error, chance_calibration_error, reliability
from classifiers.evaluation.curves import Curves, one_against_rest
from classifiers.evaluation.intervals import Estimate, mean_interval
from classifiers.evaluation.judged import Judged
from classifiers.evaluation.label_noise import Suspect, suspects
from classifiers.evaluation.learning_curve import REPEATS, LearningCurve, learning_curve, resplits
from classifiers.evaluation.neighbourhood import ALIKE, Neighbourhood, neighbourhood
from classifiers.evaluation.no_transfer import Coloured, colours_alone
from classifiers.evaluation.paired import Difference, difference
from classifiers.kinds import Targets
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
    gains : dict of str to Difference
        How much better the head is than each baseline, on the same test images:
        "majority", and "colours" where there is that.
    calibration : Calibration
    curves : list of Curves
        For each class that the test images have.
    suspects : list of Suspect
        None where the answers say nothing of the classes, see `Judged.informed`.
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
    gains: dict[str, Difference]
    calibration: Calibration
    curves: list[Curves]
    suspects: list[Suspect]
    neighbourhood: Neighbourhood
    learning_curve: LearningCurve | None
    seconds: dict[str, float] = field(default_factory=dict)


def examine(training: Training, note: Note | None = None) -> Findings:
    """Find out everything about a head.

    Parameters
    ----------
    training : Training
    note : callable, optional
        Is told, in a line, what is being done.
    """
    seconds: dict[str, float] = {}
    judged = Judged.of(training)
    with _timed(seconds, "examine", note):
        loss = _losses(training.logits, judged.labels[judged.held_out])
        curves = _curves(judged)
        wrong = suspects(judged.probabilities, judged.labels) if judged.informed else []
        calibration = _calibration(training, judged)
    with _timed(seconds, "neighbours", note), quiet_single_threads():
        around = neighbourhood(judged.X, training.known.alike or ALIKE)
    with _timed(seconds, "baseline", note):
        coloured = colours_alone(training.known, training.unseen)
    with _timed(seconds, "learning curve", note):
        learned = _learning(training, judged)
    return Findings(
        judged=judged,
        log_loss=Estimate(float(loss.mean()), *mean_interval(loss)),
        prior_log_loss=_prior_loss(judged),
        train_accuracy=_right(judged, training.tested.probabilities(training.known.X), ~judged.held_out),
        validation_accuracy=_validated(judged) if training.choice.folds else None,
        no_transfer=coloured and coloured.accuracy,
        gains=_gains(training, judged, coloured),
        calibration=calibration,
        curves=curves,
        suspects=wrong,
        neighbourhood=around,
        learning_curve=learned,
        seconds=seconds,
    )


def _losses(logits: NDArray[np.float64], truth: Targets) -> NDArray[np.float64]:
    """-log(probability of what is true) of each row; of several labels the mean over these."""
    if truth.ndim == 2:
        return np.asarray(np.logaddexp(0, np.where(truth, -logits, logits)).mean(axis=1))
    return np.asarray(-log_softmax(logits, axis=1)[np.arange(len(truth)), truth])


def _prior_loss(judged: Judged) -> float:
    """The log loss of answering with the shares that the classes have among the training images."""
    members = judged.members[~judged.held_out]
    counts, n = members.sum(axis=0) + 0.5, len(members) + 1
    prior = logit(counts / n) if judged.multi_label else np.log(counts)
    truth = judged.labels[judged.held_out]
    return float(_losses(np.broadcast_to(prior, (len(truth), len(prior))), truth).mean())


def _gains(training: Training, judged: Judged, coloured: Coloured | None) -> dict[str, Difference]:
    held = judged.held_out
    right = judged.right(judged.probabilities[held], held)
    common = np.array(training.unseen.texts) == training.metrics.majority
    gains = {"majority": difference(right, common)}
    if coloured:
        gains["colours"] = difference(right[coloured.rows], coloured.right)
    return gains


def _curves(judged: Judged) -> list[Curves]:
    told, members = judged.probabilities[judged.held_out], judged.members[judged.held_out]
    each = (one_against_rest(label, told[:, at], members[:, at]) for at, label in enumerate(judged.classes))
    return [curves for curves in each if curves]


def _calibration(training: Training, judged: Judged) -> Calibration:
    heat, truth = training.tested.temperature, judged.labels[judged.held_out]
    raw, cooled = (
        _questions(probabilities(training.logits * each, judged.multi_label), truth) for each in (heat, 1)
    )
    return Calibration(
        temperature=heat,
        before=calibration_error(*raw),
        after=calibration_error(*cooled),
        by_chance=chance_calibration_error(cooled[0]),
        bins_before=reliability(*raw),
        bins_after=reliability(*cooled),
    )


def _questions(told: NDArray[np.float64], truth: Targets) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each label of an image that has several as a question of its own, with the answers no and yes."""
    if truth.ndim == 1:
        return told, truth
    yes = told.ravel()
    return np.column_stack([1 - yes, yes]), truth.ravel().astype(np.int64)


def _validated(judged: Judged) -> float:
    rows = judged.said & ~judged.held_out
    return _right(judged, judged.probabilities[rows], rows)


def _right(judged: Judged, told: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    return float(judged.right(told, rows).mean())


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
