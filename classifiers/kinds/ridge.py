"""Ridge regression on the classes: one eigendecomposition serves every penalty."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.linalg import eigh

from classifiers.kinds.base import Loss, Rows, Setting, decades
from classifiers.layers import Layer, Linear

STRENGTH = 1.0
"""When there are too few rows to choose."""


class Ridge:
    """The kind."""

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "ridge regression"
    calibrated: ClassVar[bool] = False
    default: ClassVar[Setting] = Setting(strength=STRENGTH)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:  # noqa: ARG002 - it is exact either way
        """See `Kind.fitter`."""
        return _Fitter(rows)

    def search(self, loss: Loss) -> None:
        """See `Kind.search`."""
        decades(loss, 4, -6, Setting(), STRENGTH)


class _Fitter:
    """Least squares to +1 for the rows of a class and -1 for the rest, in the eigenbasis of X'X."""

    converged: bool = True

    def __init__(self, rows: Rows) -> None:
        shares = (rows.weights / len(rows.X)).astype(np.float32)[:, None]
        signs = np.where(rows.membership, 1, -1).astype(np.float32)
        self._mean, self._offset = (np.sum(shares * part, axis=0) for part in (rows.X, signs))
        centred = rows.X - self._mean
        weighted = shares * centred
        values, self._basis = eigh((weighted.T @ centred).astype(np.float64))
        self._values = np.maximum(values, 0)
        self._turned = self._basis.T @ (weighted.T @ (signs - self._offset))

    def __call__(self, setting: Setting) -> Layer:
        assert setting.strength
        weights = (self._basis @ (self._turned / (self._values + setting.strength)[:, None])).T
        bias = self._offset - weights @ self._mean
        return Linear(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32))
