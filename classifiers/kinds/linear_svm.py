"""A linear support vector machine for each class against the rest, with the squared hinge loss.

That loss is smooth, so L-BFGS fits all classes at once as matrix products,
where liblinear takes one class after another and passes over single rows.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from classifiers.kinds.base import Rows, Search, Setting, decades, nearest
from classifiers.layers import Layer, Linear
from extractor.results import Vector

STRENGTH = 1.0
"""When there are too few rows to choose."""


class LinearSvm:
    """The kind."""

    name: ClassVar[str] = "linear-svm"
    title: ClassVar[str] = "linear support vector machine"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = True
    default: ClassVar[Setting] = Setting(strength=STRENGTH)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:
        """See `Kind.fitter`."""
        return _Fitter(rows, thorough)

    def search(self, search: Search) -> Setting:
        """See `Kind.search`."""
        return decades(search, 3, -7, STRENGTH)


class _Fitter:
    """Each fit begins where that of the nearest strength ended."""

    converged: bool = False

    def __init__(self, rows: Rows, thorough: bool) -> None:
        self._X = rows.X
        self._signs = np.where(rows.membership, 1, -1).astype(np.float32)
        self._shares = (rows.weights / len(rows.X)).astype(np.float32)[:, None]
        self._effort = (2000, 1e-5) if thorough else (60, 1e-3)
        self._ended: dict[float, NDArray[np.float64]] = {}

    def __call__(self, setting: Setting) -> Layer:
        from scipy.optimize import minimize

        assert setting.strength
        iterations, tolerance = self._effort
        found = minimize(
            self._loss,
            self._start(setting.strength),
            args=(setting.strength,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "gtol": tolerance, "ftol": 1e-2 * tolerance},
        )
        # 1: out of iterations. 2: no further step is told from rounding, which float32 ends in.
        self.converged = bool(found.status != 1)
        self._ended[setting.strength] = found.x
        weights, bias = self._parts(found.x)
        return Linear(np.ascontiguousarray(weights), bias)

    def _start(self, strength: float) -> NDArray[np.float64]:
        ended = nearest(self._ended, strength)
        return np.zeros((self._X.shape[1] + 1) * self._signs.shape[1]) if ended is None else ended

    def _parts(self, flat: NDArray[np.float64]) -> tuple[Vector, Vector]:
        matrix = flat.astype(np.float32).reshape(self._signs.shape[1], -1)
        return matrix[:, :-1], matrix[:, -1]

    def _loss(self, flat: NDArray[np.float64], strength: float) -> tuple[float, NDArray[Any]]:
        weights, bias = self._parts(flat)
        short = np.maximum(1 - self._signs * (self._X @ weights.T + bias), 0)
        pull = -2 * self._shares * self._signs * short
        loss = np.sum(self._shares * np.square(short), dtype=np.float64)
        penalty = strength / 2 * np.sum(np.square(weights), dtype=np.float64)
        slope = np.column_stack([pull.T @ self._X + strength * weights, pull.sum(axis=0)])
        return float(loss + penalty), slope.ravel().astype(np.float64)
