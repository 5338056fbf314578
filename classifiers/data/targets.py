"""Labels as numbers: the place of a row's class, or which of the classes a row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.kinds import Targets
from classifiers.layers.arrays import checked_rows
from extractor.errors import InvalidArgument
from extractor.results import Vector


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Embeddings, and what they are.

    Attributes
    ----------
    X : float32 array of shape (n, dim)
    y : Targets
    classes : sequence of str
        In the order of their places.
    groups : array of shape (n,)
        Rows of one group are held out together.
    weights : float64 array of shape (n,)
        Of mean one.
    views : float32 array of shape (n, views, dim)
        Of each row's augmented views; see `augmented`.
    """

    X: Vector
    y: Targets
    classes: Sequence[Any]
    groups: NDArray[Any]
    weights: NDArray[np.float64]
    views: Vector

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        classes: Sequence[Any] | None = None,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        views: Vector | None = None,
    ) -> Labelled:
        """Check what a head is fitted on.

        Parameters
        ----------
        X : array-like of shape (n, dim)
        y : array-like of shape (n,), or bool of shape (n, classes)
            Labels; or which of the classes each row has, where it may have several.
        classes : sequence, optional
            In their order; needed for a matrix. Otherwise the labels, sorted.
        groups, weights : array-like of shape (n,), optional
        class_weight : "balanced" or mapping, optional
            See `Recipe`.
        views : float32 array of shape (n, views, dim), optional
            A row's own embedding stands in for views that are NaN.

        Raises
        ------
        InvalidArgument
            When they do not fit together, a value is not finite, a weight is
            not above zero, or there is one class only.
        """
        matrix = checked_rows(X)
        names, targets = _encoded(y, classes)
        n = len(matrix)
        if len(targets) != n:
            raise InvalidArgument(f"X has {n} rows, and there are labels for {len(targets)}")
        weight = _checked_weights(np.ones(n) if weights is None else weights, n)
        weight = weight * _class_weights(targets, names, class_weight)
        group = np.arange(n) if groups is None else np.asarray(groups)
        seen = np.empty((n, 0, matrix.shape[1]), np.float32) if views is None else views
        return cls(matrix, targets, names, group, weight / weight.mean(), seen)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.y.ndim == 2)

    @property
    def strata(self) -> NDArray[np.int64]:
        """One class for each row: of several labels the rarest."""
        if not self.multi_label:
            places: NDArray[np.int64] = self.y
            return places
        rarity: NDArray[np.int64] = np.where(self.y, self.y.sum(axis=0), len(self.y) + 1)
        return np.asarray(rarity.argmin(axis=1))

    @property
    def fitted(self) -> int:
        """How many rows a fit on these has, views among them."""
        return len(self.X) * (1 + int(self.views.shape[1]))

    def take(self, rows: NDArray[Any]) -> Labelled:
        """These rows only, by place or by a mask, at least one; their weights are of mean one again."""
        X, y, groups, weights = self.X[rows], self.y[rows], self.groups[rows], self.weights[rows]
        return Labelled(X, y, self.classes, groups, weights / weights.mean(), self.views[rows])

    def augmented(self) -> Labelled:
        """What a fit on these rows is made of: each row, and each of its views as a row like it."""
        if self.fitted == len(self.X):
            return self
        X = np.concatenate([self.X[:, None], self.views], axis=1)
        X = np.where(np.isnan(X), self.X[:, None], X).reshape(-1, self.X.shape[1])
        each = np.repeat(np.arange(len(self.X)), len(X) // len(self.X))
        none = self.views[each, :0]
        return Labelled(X, self.y[each], self.classes, self.groups[each], self.weights[each], none)


def _encoded(y: ArrayLike, classes: Sequence[Any] | None) -> tuple[list[Any], Targets]:
    labels = np.asarray(y)
    if labels.ndim == 2:
        names = list(range(labels.shape[1])) if classes is None else list(classes)
        targets: Targets = labels.astype(bool)
        used = np.atleast_1d(targets.any(axis=0))
        missing = [name for name, any_ in zip(names, used.tolist(), strict=True) if not any_]
        if missing:
            raise InvalidArgument(f"no row has the label {missing[0]!r}: leave it out, or add images of it")
    elif labels.ndim == 1:
        names = np.unique(labels).tolist() if classes is None else list(classes)
        targets = _places(labels, names)
    else:
        raise InvalidArgument(f"y must have one label for each row; its shape is {labels.shape}")
    if len(names) < 2:
        found = f"1 class only, {names[0]!r}" if names else "none"
        raise InvalidArgument(f"a classifier needs at least two classes; here there is {found}")
    return names, targets


def _places(labels: NDArray[Any], names: list[Any]) -> Targets:
    place = {name: at for at, name in enumerate(names)}
    try:
        return np.array([place[label] for label in labels.tolist()], np.int64)
    except KeyError as error:
        known = ", ".join(map(str, names))
        raise InvalidArgument(f"the label {error} is none of the classes {known}") from None


def _checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    found = np.asarray(weights, np.float64)
    if found.shape != (n,) or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise InvalidArgument(f"the weights must be {n} numbers, one for each row, none of them below zero")
    return found


def _class_weights(
    targets: Targets, names: list[Any], class_weight: Literal["balanced"] | Mapping[Any, float] | None
) -> NDArray[np.float64]:
    """What each row counts for its class."""
    if class_weight is None:
        return np.ones(len(targets))
    if targets.ndim == 2:
        raise InvalidArgument(
            "classes are not weighted where an image may have several labels: each has its own threshold"
        )
    if class_weight == "balanced":
        counts = np.bincount(targets, minlength=len(names))
        share: NDArray[np.float64] = len(targets) / (len(names) * np.maximum(counts, 1))
        return share[targets]
    if unknown := sorted(set(class_weight) - set(names), key=str):
        known = ", ".join(map(str, names))
        raise InvalidArgument(f"a weight is given for {unknown[0]!r}, which is none of the classes {known}")
    weights = _checked_weights([class_weight.get(name, 1.0) for name in names], len(names))
    return weights[targets]
