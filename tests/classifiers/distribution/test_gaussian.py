"""Distances against the slow and obvious computation of them."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.distribution.gaussian import Gaussian


@pytest.mark.parametrize("ratio", [1, 5, 30])
@pytest.mark.parametrize("away", [0, 10])
def test_a_distance_is_the_least_of_mahalanobis_over_the_width(ratio: float, away: float) -> None:
    """With every matrix written out; also for leading directions much wider than the others, and far away."""
    rng = np.random.default_rng(3)
    dim, classes = 96, 4
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    widths = np.where(np.arange(dim) < 10, ratio, 1.0)
    y = rng.integers(0, classes, 500)
    centres = rng.normal(size=(classes, dim)) + away
    X = (centres[y] + (rng.normal(size=(500, dim)) * widths) @ turn).astype(np.float32)
    found = Gaussian.fit(X[:400], y[:400], np.ones(400))
    inverse = np.eye(dim) / found.noise - found.basis.T.astype(np.float64) @ found.basis
    for rows in (X[400:], X[:1], found.origin + found.centres, X[:0]):
        expected = []
        for row in rows.astype(np.float64):
            apart = [row - found.origin - centre for centre in found.centres]
            expected.append(min(each @ inverse @ each for each in apart) / dim)
        np.testing.assert_allclose(found.distances(rows), expected, rtol=1e-4, atol=1e-4)
