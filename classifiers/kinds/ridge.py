"""Ridge regression on the classes: one eigendecomposition serves every penalty."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from classifiers.kinds.base import Rows, Search, Setting, decades
from classifiers.layers import Layer, Linear

STRENGTH = 1.0
"""When there are too few rows to choose."""


class Ridge:
    """The kind."""

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "ridge regression"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = True
    default: ClassVar[Setting] = Setting(strength=STRENGTH)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:  # noqa: ARG002 - it is exact either way
        """See `Kind.fitter`."""
        return _Fitter(rows)

    def search(self, search: Search) -> Setting:
        """See `Kind.search`."""
        return decades(search, 4, -6, STRENGTH)


class _Fitter:
    """Least squares to +1 for the rows of a class and -1 for the rest, in an eigenbasis.

    That of X'X, or where there are fewer rows than columns that of XX', whose eigenvalues
    are the same but for zeros, which no row reaches.
    """

    converged: bool = True

    def __init__(self, rows: Rows) -> None:
        from scipy.linalg import eigh

        shares = (rows.weights / len(rows.X)).astype(np.float32)[:, None]
        signs = np.where(rows.membership, 1, -1).astype(np.float32)
        self._mean, self._offset = (np.sum(shares * part, axis=0) for part in (rows.X, signs))
        root = np.sqrt(shares)
        X, wanted = root * (rows.X - self._mean), root * (signs - self._offset)
        if few := len(X) < X.shape[1]:
            X = X.astype(np.float64)
        values, vectors = eigh((X @ X.T if few else X.T @ X).astype(np.float64))
        self._values = np.maximum(values, 0)
        self._basis = X.T @ vectors if few else vectors
        self._turned = vectors.T @ (wanted if few else X.T @ wanted)

    def __call__(self, setting: Setting) -> Layer:
        assert setting.strength
        weights = (self._basis @ (self._turned / (self._values + setting.strength)[:, None])).T
        bias = self._offset - weights @ self._mean
        return Linear(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32))
