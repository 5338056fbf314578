"""What kind of head to fit, as one value."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from classifiers.layers import Normalise, Scaling, Standardise
from extractor.errors import InvalidArgument
from extractor.results import Vector

Kind: TypeAlias = Literal["logistic", "linear-svm", "rbf-svm", "knn", "nearest-mean", "ridge", "mlp", "auto"]
Scale: TypeAlias = Literal["standardise", "normalise"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is fitted.

    Attributes
    ----------
    kind : str
        One of `classifiers.kinds.KINDS`, or "auto": cross-validation decides,
        and where it cannot, the simpler is taken.
    scale : {"standardise", "normalise"}
        Zero mean and unit variance in each column, or unit length of each row.
    seed : int
        The same data and seed give the same head.
    class_weight : "balanced", mapping of str to float, or None
        What a row of each class counts: "balanced" gives every class the same
        in all; classes that a mapping leaves out count 1.
    """

    kind: Kind = "logistic"
    scale: Scale = "standardise"
    seed: int = 0
    class_weight: Literal["balanced"] | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for what, value, allowed in (("kind", self.kind, Kind), ("scale", self.scale, Scale)):
            if value not in get_args(allowed):
                raise InvalidArgument(
                    f"{value!r} is no {what} of a head: choose {' or '.join(get_args(allowed))}"
                )

    def scaling(self, X: Vector, weights: NDArray[np.float64]) -> Scaling:
        """The first step of the head, measured on rows of shape (n, dim) with weights of shape (n,)."""
        return Normalise() if self.scale == "normalise" else Standardise.fit(X, weights)


@contextmanager
def quiet_single_threads() -> Iterator[None]:
    """One BLAS thread per fit, since the folds share the cores, and convergence is returned, not warned of.

    Also where one fit is alone: with rows so narrow beside their number, two threads take three times
    the processor and no less time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
