"""How well a head does on rows it was not fitted on, with what chance alone would give beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.data.dataset import check_known
from classifiers.evaluation.intervals import Z95, Interval, f1_interval, table_intervals, wilson_interval

__all__ = ["Z95", "ClassFigures", "Metrics", "class_figures", "evaluate", "wilson_interval"]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class's row of the table. `recall` is None when no test image is of the class.

    Intervals are of 95 %, and None where there is nothing to go by.
    """

    label: str
    precision: float
    recall: float | None
    f1: float
    support: int
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None
    f1_interval: Interval | None = None


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
    balanced_accuracy_interval, macro_f1_interval : tuple of float
        Bootstrapped 95 % intervals: see `classifiers.evaluation.intervals`.
    """

    n: int
    accuracy: float
    interval: Interval
    balanced_accuracy: float
    macro_f1: float
    majority: str
    majority_accuracy: float
    classes: list[ClassFigures]
    confusion: list[list[int]]
    balanced_accuracy_interval: Interval
    macro_f1_interval: Interval

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
    of_each = np.stack([np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)], axis=1)
    right, in_truth, n = int(np.diag(counts).sum()), counts.sum(axis=1), int(counts.sum())
    balanced, macro = (float(each[0]) for each in _means(counts[None]))
    balanced_interval, macro_interval = table_intervals(counts, _means)
    return Metrics(
        n=n,
        accuracy=right / n,
        interval=wilson_interval(right, n),
        balanced_accuracy=balanced,
        macro_f1=macro,
        majority=majority,
        majority_accuracy=float(in_truth[list(classes).index(majority)] / n),
        classes=[class_figures(label, *of_each[at].tolist()) for at, label in enumerate(classes)],
        confusion=counts.tolist(),
        balanced_accuracy_interval=balanced_interval,
        macro_f1_interval=macro_interval,
    )


def class_figures(label: str, right: int, in_truth: int, in_answers: int) -> ClassFigures:
    """A class's figures, of how many images are of it, are taken for it, and both."""
    return ClassFigures(
        label=label,
        precision=right / max(in_answers, 1),
        recall=right / in_truth if in_truth else None,
        f1=2 * right / max(in_truth + in_answers, 1),
        support=in_truth,
        precision_interval=wilson_interval(right, in_answers) if in_answers else None,
        recall_interval=wilson_interval(right, in_truth) if in_truth else None,
        f1_interval=f1_interval(right, in_truth, in_answers),
    )


def _means(tables: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Balanced accuracy and macro F1 of tables of shape (m, classes, classes): each of shape (m,)."""
    right = np.einsum("mcc->mc", tables)
    in_truth, in_answers = tables.sum(axis=2), tables.sum(axis=1)
    recall = right / np.maximum(in_truth, 1)
    f1 = 2 * right / np.maximum(in_truth + in_answers, 1)
    return [
        (share * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        for share, there in ((recall, in_truth > 0), (f1, in_truth + in_answers > 0))
    ]


def _confusion(classes: Sequence[str], truth: Any, answers: Any) -> NDArray[np.int64]:
    check_known(truth.tolist(), classes)
    order = np.argsort(classes)
    places = [order[np.searchsorted(np.asarray(classes)[order], each)] for each in (truth, answers)]
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, tuple(places), 1)
    return counts
