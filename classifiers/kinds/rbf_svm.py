"""A support vector machine with a radial basis function, each class against the rest, by libsvm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from classifiers.kinds.base import Rows, Search, Setting
from classifiers.layers import Kernel, Layer, for_both
from classifiers.layers.kernel import rbf
from extractor.errors import InvalidArgument
from extractor.results import Vector

MOST_ROWS = 10_000
"""Beyond it the matrix of all pairs takes gigabytes, and libsvm minutes."""

GAMMAS = (1.0, 0.3, 3.0)
"""That are tried, the first with every penalty; 1 is scikit-learn's `scale` for rows of unit variance."""

COSTS = (1.0, 10.0, 0.1, 100.0)
"""libsvm's C, that are tried. A machine whose rows are nearly all support vectors has no use for C n."""


class RbfSvm:
    """The kind."""

    name: ClassVar[str] = "rbf-svm"
    title: ClassVar[str] = "support vector machine (radial basis function)"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = False
    default: ClassVar[Setting] = Setting(strength=1.0, gamma=1.0)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:
        """See `Kind.fitter`.

        Raises
        ------
        InvalidArgument
            When there are more than `MOST_ROWS` rows.
        """
        if len(rows.X) > MOST_ROWS:
            raise InvalidArgument(
                f"rbf-svm compares every pair of images and is fitted on at most {MOST_ROWS:,}; here are "
                f"{len(rows.X):,}: choose logistic or mlp, or fewer images"
            )
        return _Fitter(rows, thorough)

    def search(self, search: Search) -> Setting:
        """Try the penalties, then the other widths with the best of them, then the penalties between."""
        first = [Setting(1 / cost, GAMMAS[0]) for cost in COSTS]
        tried = {setting: search(setting) for setting in first}

        def best() -> Setting:
            return min(tried, key=lambda setting: round(tried[setting], 3))

        strength = best().strength
        for gamma in GAMMAS[1:]:
            tried[Setting(strength, gamma)] = search(Setting(strength, gamma))
        found = best()
        assert found.strength
        for factor in (3.0, 1 / 3.0):
            search(found._replace(strength=found.strength * factor))
        return search.best()


class _Fitter:
    """The kernel of all pairs is computed once for each gamma."""

    converged: bool = True

    def __init__(self, rows: Rows, thorough: bool) -> None:
        self._rows = rows
        self._tolerance = 1e-3 if thorough else 1e-2
        # The mean square of the rows, so that gamma means the same however they are scaled.
        self._size = float(np.mean(np.square(rows.X, dtype=np.float32))) * rows.X.shape[1]
        self._gamma = 0.0
        self._closeness = np.empty((0, 0))

    def __call__(self, setting: Setting) -> Layer:
        assert setting.strength
        assert setting.gamma
        gamma = setting.gamma / max(self._size, 1e-12)
        if gamma != self._gamma:
            self._gamma, self._closeness = gamma, rbf(self._rows.X, self._rows.X, gamma).astype(np.float64)
        machines = [self._machine(column, 1 / setting.strength) for column in self._columns()]
        coefficients, bias = map(np.stack, zip(*machines, strict=True))
        used = np.flatnonzero(coefficients.any(axis=0))
        if len(machines) < self._rows.classes:  # of two classes one machine tells both
            coefficients, bias = for_both(coefficients), for_both(bias)
        support = np.ascontiguousarray(self._rows.X[used])
        return Kernel(support, np.ascontiguousarray(coefficients[:, used], np.float32), bias, gamma)

    def _columns(self) -> list[Vector]:
        member = self._rows.membership.T
        return list(member[1:] if len(member) == 2 and not self._rows.multi_label else member)

    def _machine(self, column: Vector, cost: float) -> tuple[Vector, Vector]:
        from sklearn.svm import SVC

        machine = SVC(C=cost, kernel="precomputed", tol=self._tolerance, cache_size=500)
        machine.fit(self._closeness, column, sample_weight=self._rows.weights)
        coefficients = np.zeros(len(column), np.float32)
        coefficients[machine.support_] = machine.dual_coef_[0]
        return coefficients, machine.intercept_[0].astype(np.float32)
