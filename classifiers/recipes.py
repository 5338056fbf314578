"""What kind of head to fit, as one value, and the scikit-learn parts that it is made of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.errors import InvalidArgument
from extractor.results import Vector

Kind: TypeAlias = Literal["logistic", "linear-svm"]
Scale: TypeAlias = Literal["standardise", "normalise"]


LEAST_DEVIATION = 0.1
"""Of the mean deviation of all columns."""


@dataclass(frozen=True, slots=True)
class Effort:
    """When a fit ends: after so many iterations, or when its gradient is as small as the tolerance."""

    iterations: int
    tolerance: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is fitted.

    Attributes
    ----------
    kind : {"logistic", "linear-svm"}
        Logistic regression (L-BFGS), or a linear support vector machine whose
        scores are made probabilities by one factor, chosen on held-out rows.
    scale : {"standardise", "normalise"}
        Zero mean and unit variance in each column, or unit length of each row.
    seed : int
        The same data and seed give the same head.
    """

    kind: Kind = "logistic"
    scale: Scale = "standardise"
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value, allowed in (("kind", self.kind, Kind), ("scale", self.scale, Scale)):
            if value not in get_args(allowed):
                raise InvalidArgument(
                    f"{value!r} is no {what} of a head: choose {' or '.join(get_args(allowed))}"
                )

    def scaler(self, X: Vector) -> Any:
        """The first step of the pipeline, fitted.

        A column that hardly varies says nothing and is not blown up: no
        deviation counts for less than a tenth of the mean one.
        """
        from sklearn.preprocessing import Normalizer, StandardScaler

        if self.scale == "normalise":
            return Normalizer().fit(X)
        scaler = StandardScaler().fit(X)
        scaler.scale_ = np.maximum(scaler.scale_, LEAST_DEVIATION * np.sqrt(scaler.var_).mean())
        return scaler

    def classifier(self, efforts: dict[Kind, Effort]) -> Any:
        """The classifier, not fitted yet, that makes the effort of its kind."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        effort = efforts[self.kind]
        if self.kind == "logistic":
            # Rows of unit length have gradients that are smaller by the root of the width.
            tolerance = effort.tolerance / (1 if self.scale == "standardise" else 30)
            return LogisticRegression(max_iter=effort.iterations, tol=tolerance)
        # The primal solver takes ten times as long on a thousand columns.
        return LinearSVC(dual=True, max_iter=effort.iterations, tol=effort.tolerance, random_state=self.seed)


def checked(X: ArrayLike, y: ArrayLike) -> tuple[Vector, NDArray[Any]]:
    """`X` as a float32 matrix and `y` as an array, when a classifier can be fitted on them.

    Raises
    ------
    InvalidArgument
        When they do not fit together, `X` has values that are not finite, or
        there is one class only.
    """
    matrix, labels = np.asarray(X, dtype=np.float32), np.asarray(y)
    if matrix.ndim != 2 or labels.shape != matrix.shape[:1]:
        raise InvalidArgument(
            "X must be a matrix and y have one label for each of its rows; "
            f"their shapes are {matrix.shape} and {labels.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        raise InvalidArgument(
            f"{bad.size} rows of X, the first is row {bad[0]}, have values that are not finite"
        )
    classes = np.unique(labels).tolist()
    if len(classes) < 2:
        found = repr(classes[0]) if classes else "none"
        raise InvalidArgument(f"a classifier needs at least two classes; here there is only {found}")
    return matrix, labels


@contextmanager
def quiet_single_threads() -> Iterator[None]:
    """One BLAS thread per fit, since the folds share the cores; convergence is returned, not warned of."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
