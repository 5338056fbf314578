"""Logistic regression, by scikit-learn's L-BFGS."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from classifiers.kinds.base import Rows, Search, Setting, decades, nearest
from classifiers.layers import Layer, Linear

THOROUGH, QUICK = (2000, 1e-4), (100, 1e-3)  # iterations, tolerance of the gradient

STRENGTH = 0.1
"""When there are too few rows to choose."""


class Logistic:
    """The kind."""

    name: ClassVar[str] = "logistic"
    title: ClassVar[str] = "logistic regression"
    calibrated: ClassVar[bool] = True
    per_row: ClassVar[bool] = True
    default: ClassVar[Setting] = Setting(strength=STRENGTH)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:
        """See `Kind.fitter`."""
        return _Fitter(rows, thorough)

    def search(self, search: Search) -> Setting:
        """See `Kind.search`."""
        return decades(search, 2, -8, STRENGTH)


class _Fitter:
    """Each fit begins where that of the nearest strength ended."""

    converged: bool = False

    def __init__(self, rows: Rows, thorough: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        self._rows = rows
        iterations, tolerance = THOROUGH if thorough else QUICK
        # The gradient of short rows is smaller, as of rows of unit length by the root of the width.
        tolerance *= min(float(np.sqrt(np.mean(np.square(rows.X[:1000])))), 1.0)
        self._columns = rows.membership.T if rows.multi_label else [rows.y]
        self._models = [
            LogisticRegression(max_iter=iterations, tol=tolerance, warm_start=True) for _ in self._columns
        ]
        self._ended: dict[float, list[Any]] = {}

    def __call__(self, setting: Setting) -> Layer:
        assert setting.strength
        begun = nearest(self._ended, setting.strength) or [{} for _ in self._models]
        for model, column, start in zip(self._models, self._columns, begun, strict=True):
            vars(model).update(start, C=1 / (setting.strength * len(self._rows.X)))
            model.fit(self._rows.X, column, sample_weight=self._rows.weights)
        self._ended[setting.strength] = [
            {"coef_": model.coef_, "intercept_": model.intercept_} for model in self._models
        ]
        self.converged = all(bool(np.max(model.n_iter_) < model.max_iter) for model in self._models)
        return self._layer()

    def _layer(self) -> Linear:
        if self._rows.multi_label:
            return Linear(*(_stacked(self._models, part) for part in ("coef_", "intercept_")))
        return Linear.of_scikit_learn(self._models[0].coef_, self._models[0].intercept_)


def _stacked(models: list[Any], part: str) -> Any:
    return np.concatenate([getattr(model, part) for model in models]).astype(np.float32)
