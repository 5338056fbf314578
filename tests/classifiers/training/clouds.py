"""Rows of classes that overlap."""

from __future__ import annotations

import numpy as np


def clouds(n: int = 60, k: int = 3, dim: int = 20, apart: float = 1.0, seed: int = 0):
    """Classes that overlap: `n` rows each around a centre of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, apart, (k, dim))
    X = np.concatenate([rng.normal(centre, 2, (n, dim)) for centre in centres]).astype(np.float32)
    return X, np.repeat([f"class {i}" for i in range(k)], n)


def rare(seed: int = 0):
    """One row in twenty is of the rare class, and hard to tell."""
    X, _ = clouds(n=400, k=1, dim=10, seed=seed)
    y = np.where(np.arange(400) % 20 == 0, "rare", "common")
    X[y == "rare"] += 0.9
    return X, y
