"""All rows of a training, each with what a head said of it that had not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifiers.layers.model import probabilities
from extractor.results import Vector

if TYPE_CHECKING:
    from classifiers.training.train import Training


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The rows that were fitted on, then those that were held out.

    Attributes
    ----------
    classes : list of str
    X : float32 array of shape (n, dim)
    labels : int array of shape (n,)
        Places of the classes.
    digests, groups : str array of shape (n,)
        Rows of one group are never parted.
    weights : float64 array of shape (n,)
    images : list of str
    held_out : bool array of shape (n,)
        Whether the row is a test image.
    probabilities : float64 array of shape (n, classes)
        Of test images by the tested head, of the others by cross-validation;
        NaN where that never held the row out.
    """

    classes: list[str]
    X: Vector
    labels: NDArray[np.int64]
    digests: NDArray[np.str_]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64]
    images: list[str]
    held_out: NDArray[np.bool_]
    probabilities: NDArray[np.float64]

    @classmethod
    def of(cls, training: Training) -> Judged:
        """Those of a training of one label an image."""
        known, unseen = training.known, training.unseen
        classes = training.head.manifest.classes
        crossed = np.full((len(known.y), len(classes)), np.nan)
        if training.choice.folds:
            crossed = probabilities(training.choice.logits / training.choice.temperature)
        return cls(
            classes=classes,
            X=np.concatenate([known.X, unseen.X]),
            labels=places(np.concatenate([known.y, unseen.y]), classes),
            digests=np.concatenate([known.digests, unseen.digests]),
            groups=np.concatenate([known.groups, unseen.groups]),
            weights=np.concatenate([known.weights, unseen.weights]),
            images=[*known.images, *unseen.images],
            held_out=np.arange(len(known.y) + len(unseen.y)) >= len(known.y),
            probabilities=np.concatenate([crossed, probabilities(training.logits)]),
        )

    @property
    def answers(self) -> NDArray[np.int64]:
        """The most probable class of each row; -1 where nothing was said."""
        said = ~np.isnan(self.probabilities[:, 0])
        return np.where(said, np.nan_to_num(self.probabilities).argmax(axis=1), -1)


def places(labels: NDArray[np.str_], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each label among the classes."""
    place = {label: at for at, label in enumerate(classes)}
    return np.array([place[label] for label in labels.tolist()], np.int64)
