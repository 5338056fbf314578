"""How well a head does on rows it was not fitted on, with what chance alone would give beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from classifiers.dataset import check_known

Z95 = 1.959964
"""The normal quantile of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class's row of the table. `recall` is None when no test image is of the class."""

    label: str
    precision: float
    recall: float | None
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures on a test set.

    Attributes
    ----------
    n : int
        Images in the test set.
    accuracy : float
    interval : tuple of float
        Wilson's 95 % interval of the accuracy.
    balanced_accuracy : float
        The mean recall of the classes that occur in the test set.
    macro_f1 : float
        The mean F1 of the classes that occur in the test set or among the answers.
    majority : str
        The most frequent class of the training part.
    majority_accuracy : float
        What answering `majority` every time would give.
    classes : list of ClassFigures
    confusion : list of list of int
        Rows: the truth; columns: the answers; both in the order of `classes`.
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    majority: str
    majority_accuracy: float
    classes: list[ClassFigures]
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def evaluate(classes: Sequence[str], truth: ArrayLike, answers: ArrayLike, majority: str) -> Metrics:
    """Compare answers with the truth.

    Parameters
    ----------
    classes : sequence of str
        Every class that the head knows.
    truth, answers : array-like of shape (n,)
        Labels.
    majority : str
        The most frequent class of the training part.

    Raises
    ------
    InvalidArgument
        When the truth has a class that the head does not know.
    """
    counts = _confusion(classes, np.asarray(truth), np.asarray(answers))
    right, in_truth, in_answers = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    n = int(counts.sum())
    precision = right / np.maximum(in_answers, 1)
    recall = right / np.maximum(in_truth, 1)
    f1 = 2 * right / np.maximum(in_truth + in_answers, 1)
    figures = [
        ClassFigures(label, float(precision[i]), float(recall[i]) if support else None, float(f1[i]), support)
        for i, (label, support) in enumerate(zip(classes, in_truth.tolist(), strict=True))
    ]
    return Metrics(
        n=n,
        accuracy=float(right.sum() / n),
        interval=wilson_interval(int(right.sum()), n),
        balanced_accuracy=float(recall[in_truth > 0].mean()),
        macro_f1=float(f1[in_truth + in_answers > 0].mean()),
        majority=majority,
        majority_accuracy=float(in_truth[list(classes).index(majority)] / n),
        classes=figures,
        confusion=counts.tolist(),
    )


def wilson_interval(right: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share, by E. B. Wilson (1927); unlike the normal one it stays within 0..1."""
    share = right / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _confusion(classes: Sequence[str], truth: Any, answers: Any) -> Any:
    check_known(truth.tolist(), classes)
    order = np.argsort(classes)
    places = [order[np.searchsorted(np.asarray(classes)[order], each)] for each in (truth, answers)]
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, tuple(places), 1)
    return counts
