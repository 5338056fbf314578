"""All rows of a training, each with what a head said of it that had not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifiers.data.labels import joined
from classifiers.evaluation.intervals import Z95
from classifiers.kinds import Targets
from classifiers.layers.model import probabilities
from extractor.results import Vector

if TYPE_CHECKING:
    from classifiers.training.train import Training

_LEAST = 1e-9
"""Of a probability, so that one answer that is surely wrong does not outweigh all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The rows that were fitted on, then those that were held out.

    Attributes
    ----------
    classes : list of str
    X : float32 array of shape (n, dim)
    labels : Targets
        The place of each row's class; or, where it may have several labels,
        which of them it has: bool of shape (n, classes).
    digests, groups : str array of shape (n,)
        Rows of one group are never parted.
    weights : float64 array of shape (n,)
    images : list of str
    held_out : bool array of shape (n,)
        Whether the row is a test image.
    probabilities : float64 array of shape (n, classes)
        Of test images by the tested head, of the others by cross-validation;
        NaN where that never held the row out.
    thresholds : float64 array of shape (classes,)
        From which probability on a row has a label, where it may have several.
    """

    classes: list[str]
    X: Vector
    labels: Targets
    digests: NDArray[np.str_]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64]
    images: list[str]
    held_out: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @classmethod
    def of(cls, training: Training) -> Judged:
        """Those of a training."""
        known, unseen, manifest = training.known, training.unseen, training.head.manifest
        classes, several = manifest.classes, training.tested.multi_label
        crossed = np.full((len(known.y), len(classes)), np.nan)
        if training.choice.folds:
            crossed = probabilities(training.choice.logits / training.choice.temperature, several)
        y = np.concatenate([known.y, unseen.y])
        return cls(
            classes=classes,
            X=np.concatenate([known.X, unseen.X]),
            labels=y if several else places(y, classes),
            digests=np.concatenate([known.digests, unseen.digests]),
            groups=np.concatenate([known.groups, unseen.groups]),
            weights=np.concatenate([known.weights, unseen.weights]),
            images=[*known.images, *unseen.images],
            held_out=np.arange(len(y)) >= len(known.y),
            probabilities=np.concatenate([crossed, probabilities(training.logits, several)]),
            thresholds=np.array(manifest.thresholds or [0.5] * len(classes)),
        )

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.labels.ndim == 2)

    @property
    def said(self) -> NDArray[np.bool_]:
        """Which rows something was said of."""
        return ~np.isnan(self.probabilities[:, 0])

    @property
    def members(self) -> NDArray[np.bool_]:
        """Which rows are of which class: shape (n, classes)."""
        if self.multi_label:
            return self.labels
        found: NDArray[np.bool_] = self.labels[:, None] == np.arange(len(self.classes))
        return found

    @property
    def informed(self) -> bool:
        """Whether the probability of what is true is higher in its own row than in others, beyond chance.

        However the classes are weighted; by the mean of log probabilities, and 1.96 of its errors.
        """
        told = np.clip(self.probabilities[self.said], _LEAST, 1 - _LEAST)
        truth = self.labels[self.said]
        yes, no = (logs - logs.mean(axis=0) for logs in (np.log(told), np.log1p(-told)))
        gain = np.where(truth, yes, no).mean(axis=1) if self.multi_label else yes[np.arange(len(told)), truth]
        return bool(gain.mean() > Z95 * gain.std() / np.sqrt(len(gain)))

    def answers(self, probabilities: NDArray[np.float64]) -> Targets:
        """What probabilities of shape (n, classes) say, in the form of `labels`."""
        if self.multi_label:
            return np.asarray(probabilities >= self.thresholds)
        return np.asarray(probabilities.argmax(axis=1))

    def right(self, probabilities: NDArray[np.float64], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of these rows are answered rightly by their probabilities; of several labels all must be."""
        same = self.answers(probabilities) == self.labels[rows]
        return np.asarray(same.all(axis=1) if self.multi_label else same)

    def label_of(self, row: int) -> str:
        """The label of a row; of several all of them in one text."""
        if self.multi_label:
            return joined(self.classes[at] for at in np.flatnonzero(self.labels[row]))
        return self.classes[int(self.labels[row])]


def places(labels: NDArray[np.str_], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each label among the classes."""
    place = {label: at for at, label in enumerate(classes)}
    return np.array([place[label] for label in labels.tolist()], np.int64)
