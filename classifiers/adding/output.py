"""The weights of a new class beside those of the earlier ones, which stay.

Of the softmax over all classes only the new row is free. With the earlier
scores s fixed, the probability of the new class is
sigmoid((z - T log sum exp(s / T)) / T) for its own score z: a logistic
regression with an offset, whose minimum is the one that multinomial logistic
regression has when its other rows are held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from extractor.results import Vector

STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
"""Of the penalty, of which held-out rows choose one."""

_EVERY = 5


def fit_output(
    features: Sequence[Vector],
    scores: Sequence[NDArray[np.float64]],
    weights: Sequence[NDArray[np.float64]],
    temperature: float,
) -> tuple[Vector, float]:
    """Fit one more output.

    Parameters
    ----------
    features : two float32 arrays of shape (n, width)
        What the outputs are linear in: of earlier rows, and of the new class's.
    scores : two arrays of shape (n, classes)
        What the earlier classes are given.
    weights : two arrays of shape (n,)
    temperature : float
        Of the head.

    Returns
    -------
    float32 array of shape (width,)
    float
        The bias.
    """
    X = np.concatenate(features)
    offset = temperature * logsumexp(np.concatenate(scores) / temperature, axis=1)
    sign = np.concatenate(
        [np.full(len(part), side) for part, side in zip(features, (-1.0, 1.0), strict=True)]
    )
    loss = _Loss(X, offset, sign, np.concatenate(weights), temperature)
    held = np.concatenate([np.arange(len(part)) % _EVERY == _EVERY - 1 for part in features])
    found = np.append(np.zeros(X.shape[1]), offset.mean())
    if all((np.arange(len(part)) % _EVERY == _EVERY - 1).any() for part in features):
        strength = _chosen(loss.of(~held), loss.of(held), found)
    else:
        strength = 0.1
    found = loss.minimum(found, strength)
    return found[:-1].astype(np.float32), float(found[-1])


def _chosen(known: _Loss, unseen: _Loss, start: NDArray[np.float64]) -> float:
    """The strength with the smallest loss on rows that were held out, from strong to weak."""
    losses = []
    for strength in STRENGTHS:
        start = known.minimum(start, strength, iterations=30)
        losses.append(unseen(start, 0.0)[0])
    return STRENGTHS[int(np.argmin(losses))]


class _Loss:
    """The weighted mean log loss of the new class against all others."""

    def __init__(
        self,
        X: Vector,
        offset: NDArray[np.float64],
        sign: NDArray[np.float64],
        weights: NDArray[np.float64],
        temperature: float,
    ) -> None:
        self._X, self._offset, self._sign, self._temperature = X, offset, sign, temperature
        self._weights, self._shares = weights, weights / weights.sum()

    def of(self, rows: NDArray[np.bool_]) -> _Loss:
        """The same of these rows only."""
        offset, sign, weights = (part[rows] for part in (self._offset, self._sign, self._weights))
        return _Loss(self._X[rows], offset, sign, weights, self._temperature)

    def __call__(self, flat: NDArray[np.float64], strength: float) -> tuple[float, NDArray[np.float64]]:
        row, bias = flat[:-1], flat[-1]
        margin = self._sign * ((self._X @ row.astype(np.float32)) + bias - self._offset) / self._temperature
        loss = self._shares @ np.logaddexp(0, -margin) + strength / 2 * row @ row
        pull = -self._shares * self._sign * expit(-margin) / self._temperature
        slope = pull.astype(np.float32) @ self._X + strength * row
        return float(loss), np.append(slope, pull.sum()).astype(np.float64)

    def minimum(
        self, start: NDArray[np.float64], strength: float, iterations: int = 200
    ) -> NDArray[np.float64]:
        """Where it is smallest, sought from `start`."""
        options = {"maxiter": iterations, "gtol": 1e-6}
        found = minimize(self, start, args=(strength,), jac=True, method="L-BFGS-B", options=options)
        flat: NDArray[np.float64] = found.x
        return flat
