"""A head with a class more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from classifiers.adding.layers import with_class
from classifiers.distribution.rejection import Measured, Rejection, threshold_of
from classifiers.distribution.statistics import Statistics, class_means, scatter_about
from classifiers.heads import Head
from classifiers.layers import Standardise
from classifiers.training.recipes import quiet_single_threads
from extractor.errors import InvalidArgument
from extractor.results import Vector

EXACT = ("ridge", "nearest-mean", "knn")
"""Kinds that are, with the scaling kept, what a fit on all rows would give."""

FAR = 1.5
"""Times its threshold from which a head finds far fewer images unknown than it did."""

_PARTS = 5


@dataclass(frozen=True, slots=True)
class Extended:
    """A head with a class more, and what that changed.

    Attributes
    ----------
    head : Head
    exact : bool
        Whether a fit on all rows would give the same, with scaling and setting kept.
    kept, taken : int
        Rows of the earlier classes that the head keeps, and how many of them
        are now taken for the new class.
    rows, found : int
        Rows of the new class, and how many of them are taken for it.
    thresholds : tuple of float, or None
        The distance above which an image is unknown, before and now; None when the head rejects nothing.
    """

    head: Head
    exact: bool
    kept: int
    taken: int
    rows: int
    found: int
    thresholds: tuple[float, float] | None

    @property
    def is_looser(self) -> bool:
        """Whether much that was unknown is given a class now."""
        before, now = self.thresholds or (0.0, 0.0)
        return now > FAR * before


def add_class(head: Head, label: str, X: Vector) -> Extended:
    """Teach `head` one class more.

    What an image is among the earlier classes stays as it was; with the kinds
    of `EXACT` the layer is the one that all rows together give. Of the others
    the new class's own weights are fitted, against the rows that were kept.

    Parameters
    ----------
    head : Head
        Fitted with one label an image.
    label : str
        None of its classes.
    X : float32 array of shape (n, dim)
        Embeddings of images of the class.

    Raises
    ------
    InvalidArgument
        When the head cannot be extended, or has the class.
    """
    statistics = _extensible(head, label)
    weight = _weight(head, statistics, len(X))
    wider = _wider(statistics, X, weight)
    with quiet_single_threads():  # a second thread waits for the first more than it helps with so few rows
        layer = with_class(head, statistics, wider, X, weight)
    model = replace(head.model, layer=layer)
    rejection = _rejection(head.rejection, X) if head.rejection else None
    extended = Head(_manifest(head, label, len(X)), model, wider, rejection)
    answers = [
        model.scores(rows).argmax(axis=1) == len(head.manifest.classes) for rows in (statistics.rows, X)
    ]
    taken, found = (int(each.sum()) for each in answers)
    thresholds = (head.rejection.threshold, rejection.threshold) if head.rejection and rejection else None
    return Extended(extended, is_exact(head), len(statistics.rows), taken, len(X), found, thresholds)


def is_exact(head: Head) -> bool:
    """Whether a class is added as a fit on all rows would; the statistics are of rows that are not scaled."""
    kind = head.manifest.kind
    return kind in EXACT and (kind != "ridge" or isinstance(head.model.scaling, Standardise))


def _extensible(head: Head, label: str) -> Statistics:
    name, statistics = head.manifest.name, head.statistics
    if head.model.multi_label:
        raise InvalidArgument(
            f"the head {name!r} gives an image several labels, and which of them the new images have is not "
            "said by a folder: fit it again with all labels; what is embedded is remembered"
        )
    if statistics is None:
        raise InvalidArgument(f"the head {name!r} keeps no statistics of its rows: fit it again")
    if label in head.manifest.classes:
        raise InvalidArgument(
            f"the head {name!r} has the class {label!r} already: choose another, or fit the head again"
        )
    return statistics


def _weight(head: Head, statistics: Statistics, rows: int) -> float:
    """What a row of the new class weighs."""
    if head.manifest.fitting.get("class_weight") == "balanced":
        return float(statistics.weights.mean()) / rows
    return 1.0


def _wider(statistics: Statistics, X: Vector, weight: float) -> Statistics:
    """The statistics with the rows of the new class, as many of which are kept as of the others."""
    weights = np.full(len(X), weight)
    places = np.zeros(len(X), np.int64)
    centre, total = class_means(X, places, weights)
    most = int(np.bincount(statistics.labels.astype(int)).max())
    kept = X[np.random.default_rng(0).permutation(len(X))[:most]]
    return Statistics(
        np.append(statistics.counts, len(X)),
        np.concatenate([statistics.weights, total]),
        np.concatenate([statistics.centres, centre]),
        statistics.scatter + scatter_about(X, centre, places, weights),
        np.concatenate([statistics.rows, kept]),
        np.concatenate([statistics.labels, np.full(len(kept), len(statistics.counts))]),
    )


def _rejection(rejection: Rejection, X: Vector) -> Rejection:
    """With the new centre; no more of the new class are rejected than was promised of the others.

    There is one threshold, so that a class whose images are unlike each other moves that of all classes.
    """
    measured = rejection.measured
    parts = np.arange(len(X)) % min(_PARTS, len(X))
    distances = []
    for part in range(parts.max() + 1) if len(X) > 1 else ():
        without = rejection.gaussian.with_centre(X[parts != part].mean(axis=0))
        distances.append(without.distances(X[parts == part]))
    found = np.concatenate(distances) if distances else np.zeros(1)
    threshold = max(measured.threshold, threshold_of(found, measured.false_rejects))
    facts: Mapping[str, Any] = {"threshold": threshold, "rows": measured.rows + len(X), "rejected": None}
    changed: Measured = replace(measured, **facts)
    gaussian = rejection.gaussian.with_centre(X.mean(axis=0))
    return Rejection(gaussian, np.sort(np.concatenate([rejection.held_out, found])), changed)


def _manifest(head: Head, label: str, rows: int) -> Any:
    """The figures were of another head, so there are none."""
    before = head.manifest
    added = [*before.fitting.get("added", []), {"label": label, "rows": rows}]
    return replace(
        before,
        classes=[*before.classes, label],
        metrics={},
        fitting=before.fitting | {"added": added},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
