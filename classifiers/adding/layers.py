"""Each layer with a class more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import solve

from classifiers.adding.output import fit_output
from classifiers.distribution.statistics import Statistics
from classifiers.heads import Head
from classifiers.kinds import KINDS
from classifiers.layers import Kernel, Layer, Linear, Neighbours, Normalise, Standardise, TwoLayer
from classifiers.layers.kernel import rbf
from extractor.results import Vector

_MORE_SUPPORT = 200
"""Rows of a new class that a kernel is given."""

_FITTED = 1000
"""Rows of a new class that its weights are fitted on."""


def with_class(head: Head, before: Statistics, after: Statistics, X: Vector, weight: float) -> Layer:
    """The head's layer with the class of the rows `X`, each of this weight, of shape (n, dim)."""
    scaling, layer = head.model.scaling, head.model.layer
    if isinstance(layer, Neighbours):
        return _neighbours(layer, scaling(X))
    if head.manifest.kind == "nearest-mean" and isinstance(layer, Linear):
        return _nearest_mean(layer, scaling(X))
    if head.manifest.kind == "ridge" and isinstance(scaling, Standardise):
        return ridge(after, scaling, _strength(head))
    some = X[np.random.default_rng(0).permutation(len(X))[:_FITTED]]
    old, new = scaling(before.rows), scaling(some)
    features = _features(layer, new)
    weights = [before.sample_weights, np.full(len(some), weight * len(X) / len(some))]
    scores = [layer.scores(rows) for rows in (old, new)]
    row, bias = fit_output(
        [features.of(rows) for rows in (old, new)], scores, weights, head.model.temperature
    )
    return features.layer(row, bias)


def ridge(statistics: Statistics, scaling: Standardise, strength: float) -> Linear:
    """Least squares to +1 and -1 from the statistics: what `classifiers.kinds.ridge` finds from the rows."""
    total, mean = statistics.weights.sum(), statistics.mean()
    scale = scaling.scale.astype(np.float64)
    gram = statistics.moments() / total / np.outer(scale, scale)
    shares = statistics.weights / total
    pull = 2 * shares[:, None] * (statistics.centres - mean) / scale
    gram[np.diag_indices_from(gram)] += strength
    weights = solve(gram, pull.T, assume_a="pos").T
    bias = 2 * shares - 1 - weights @ ((mean - scaling.mean) / scale)
    return Linear(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32))


def _strength(head: Head) -> float:
    default = KINDS[head.manifest.kind].default.strength
    return float(head.manifest.fitting.get("strength") or default or 1.0)


def _neighbours(layer: Neighbours, rows: Vector) -> Neighbours:
    labels = np.concatenate([layer.labels, np.full(len(rows), layer.classes)])
    return Neighbours(np.concatenate([layer.rows, Normalise()(rows)]), labels, layer.classes + 1, layer.k)


def _nearest_mean(layer: Linear, rows: Vector) -> Linear:
    mean = Normalise()(Normalise()(rows).mean(axis=0, keepdims=True))
    return Linear(np.concatenate([layer.weights, mean]), np.append(layer.bias, np.float32(0)))


def _features(layer: Layer, rows: Vector) -> _Plain | _Hidden | _Support:
    """What a layer's last matrix is multiplied with."""
    if isinstance(layer, Kernel):
        return _Support(layer, rows[:_MORE_SUPPORT])
    return _Hidden(layer) if isinstance(layer, TwoLayer) else _Plain(layer)


def _grown(weights: Vector, bias: Vector, row: Vector, last: float) -> tuple[Vector, Vector]:
    return np.concatenate([weights, [row]]), np.append(bias, np.float32(last))


class _Plain:
    """Of a linear layer: the rows."""

    def __init__(self, layer: Layer) -> None:
        assert isinstance(layer, Linear)
        self._layer = layer

    def of(self, rows: Vector) -> Vector:
        return rows

    def layer(self, row: Vector, bias: float) -> Layer:
        return Linear(*_grown(self._layer.weights, self._layer.bias, row, bias))


class _Hidden:
    """Of a perceptron: its hidden layer."""

    def __init__(self, layer: TwoLayer) -> None:
        self._layer = layer

    def of(self, rows: Vector) -> Vector:
        hidden: Vector = np.maximum(rows @ self._layer.hidden.T + self._layer.hidden_bias, 0)
        return hidden

    def layer(self, row: Vector, bias: float) -> Layer:
        weights, biases = _grown(self._layer.weights, self._layer.bias, row, bias)
        return replace(self._layer, weights=weights, bias=biases)


class _Support:
    """Of a kernel machine: the closeness to its support vectors, and to some of the new rows."""

    def __init__(self, layer: Kernel, more: Vector) -> None:
        silent = np.zeros((len(layer.bias), len(more)), np.float32)
        self._layer = replace(
            layer,
            support=np.concatenate([layer.support, more]),
            coefficients=np.concatenate([layer.coefficients, silent], axis=1),
        )

    def of(self, rows: Vector) -> Vector:
        return rbf(rows, self._layer.support, self._layer.gamma)

    def layer(self, row: Vector, bias: float) -> Layer:
        coefficients, biases = _grown(self._layer.coefficients, self._layer.bias, row, bias)
        return replace(self._layer, coefficients=coefficients, bias=biases)
