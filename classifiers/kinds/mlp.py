"""A perceptron with one hidden layer of 256, as in the articles' `Dense(256)`, by scikit-learn's Adam."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from classifiers.kinds.base import Rows, Search, Setting
from classifiers.layers import Layer, TwoLayer, for_both

WIDTH = 256
EPOCHS = 20
STRENGTHS = (1e-3, 1e-2, 1e-4)
"""Of the penalty, that are tried."""


class Mlp:
    """The kind."""

    name: ClassVar[str] = "mlp"
    title: ClassVar[str] = f"perceptron with a hidden layer of {WIDTH}"
    calibrated: ClassVar[bool] = False
    per_row: ClassVar[bool] = False
    default: ClassVar[Setting] = Setting(strength=1e-3)

    def fitter(self, rows: Rows, thorough: bool) -> _Fitter:  # noqa: ARG002 - as it is ranked, it is fitted
        """See `Kind.fitter`."""
        return _Fitter(rows)

    def search(self, search: Search) -> Setting:
        """See `Kind.search`."""
        for strength in STRENGTHS:
            search(Setting(strength=strength))
        return search.best()


class _Fitter:
    converged: bool = True  # it is not meant to: the epochs are part of the penalty

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __call__(self, setting: Setting) -> Layer:
        from sklearn.neural_network import MLPClassifier

        assert setting.strength
        rows = self._rows
        batch = min(128, len(rows.X))
        network = MLPClassifier(
            (WIDTH,),
            alpha=setting.strength * batch,  # scikit-learn divides it by the rows of a batch
            batch_size=batch,
            max_iter=EPOCHS,
            random_state=rows.seed,
        )
        network.fit(rows.X, rows.y.astype(int), sample_weight=rows.weights)
        hidden, weights = (np.ascontiguousarray(part.T, np.float32) for part in network.coefs_)
        hidden_bias, bias = (part.astype(np.float32) for part in network.intercepts_)
        if len(weights) < rows.classes:  # scikit-learn has one score that tells two classes
            weights, bias = for_both(weights), for_both(bias)
        return TwoLayer(hidden, hidden_bias, weights, bias)
