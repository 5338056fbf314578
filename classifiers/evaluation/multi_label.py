"""Images with several labels: from which probability on one has a label, and how well that does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifiers.data.labels import joined
from classifiers.evaluation.evaluate import Metrics, class_figures
from classifiers.evaluation.intervals import PRIOR, Interval, wilson_interval

_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class SeveralMetrics(Metrics):
    """Figures on a test set whose images may have several labels.

    `accuracy` is the share of images of which all labels are right and none is
    missing, `balanced_accuracy` the mean recall of the labels, and `majority`
    the commonest set of labels; there is no confusion matrix.

    Attributes
    ----------
    micro_f1 : float
        Of all labels of all images together.
    micro_f1_interval : tuple of float
        95 %, bootstrapped over the images, as are the others.
    """

    micro_f1: float = 0.0
    micro_f1_interval: Interval = (0.0, 1.0)


def best_thresholds(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> list[float]:
    """For each label the probability from which on its F1 is best; 0.5 where no row says so.

    Parameters
    ----------
    probabilities : array of shape (n, classes)
        Of rows that were held out; rows with NaN were not.
    truth : bool array of shape (n, classes)
    """
    held = ~np.isnan(probabilities).any(axis=1)
    columns = zip(probabilities[held].T, truth[held].T, strict=True)
    return [_best_threshold(column, having) for column, having in columns]


def evaluate_several(
    classes: Sequence[str], truth: NDArray[np.bool_], answers: NDArray[np.bool_], known: NDArray[np.bool_]
) -> SeveralMetrics:
    """Compare answers with the truth.

    Parameters
    ----------
    classes : sequence of str
    truth, answers : bool array of shape (n, classes)
    known : bool array of shape (m, classes)
        The labels of the training part.
    """
    counts = np.stack([truth & answers, truth, answers]).astype(np.int64)
    of_each = counts.sum(axis=1).T
    figures = _means(counts.sum(axis=1)[:, None])
    macro, micro, recall = (_middle(each) for each in _means(_drawn(counts)))
    exact = int((truth == answers).all(axis=1).sum())
    set_, _ = Counter(map(tuple, known.tolist())).most_common(1)[0]
    return SeveralMetrics(
        n=len(truth),
        accuracy=exact / len(truth),
        interval=wilson_interval(exact, len(truth)),
        balanced_accuracy=float(figures[2][0]),
        macro_f1=float(figures[0][0]),
        majority=joined(label for label, has in zip(classes, set_, strict=True) if has),
        majority_accuracy=float((truth == np.array(set_)).all(axis=1).mean()),
        classes=[class_figures(label, *of_each[at].tolist()) for at, label in enumerate(classes)],
        confusion=[],
        balanced_accuracy_interval=recall,
        macro_f1_interval=macro,
        micro_f1=float(figures[1][0]),
        micro_f1_interval=micro,
    )


def _best_threshold(probabilities: NDArray[np.float64], having: NDArray[np.bool_]) -> float:
    if not having.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ranked, right = probabilities[order], np.cumsum(having[order])
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + having.sum())
    cuts = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))  # equal ones are on one side
    best = cuts[f1[cuts].argmax()]
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def _drawn(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts of test sets as large as this one, drawn again from its images and `PRIOR` more.

    These have, in equal parts, all labels rightly, all missed, all wrongly, and
    none: a test set without an error does not claim that there can be none.
    """
    _, n, classes = counts.shape
    more = np.repeat([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], classes, axis=1).reshape(3, 4, classes)
    weights = np.concatenate([np.ones(n), np.full(4, PRIOR / 4)])
    draws = np.random.default_rng(0).multinomial(n, weights / weights.sum(), _DRAWS)
    return np.asarray(draws @ np.concatenate([counts, more], axis=1).astype(np.float64))


def _middle(draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return low, high


def _means(counts: NDArray[np.generic]) -> list[NDArray[np.float64]]:
    """Macro F1, micro F1 and mean recall of counts (right, true, answered) of shape (3, m, classes)."""
    right, in_truth, in_answers = counts.astype(np.float64)
    f1 = 2 * right / np.maximum(in_truth + in_answers, 1)
    micro = 2 * right.sum(axis=1) / np.maximum((in_truth + in_answers).sum(axis=1), 1)
    there, occurs = in_truth > 0, in_truth + in_answers > 0
    recall = (right / np.maximum(in_truth, 1) * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return [(f1 * occurs).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1), micro, recall]
