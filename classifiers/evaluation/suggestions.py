"""Which unlabelled images to label next: those that a head is least sure of, unlike each other.

The margin between the two most probable classes says how sure it is (T. Scheffer
et al., "Active Hidden Markov Models for Information Extraction", 2001). Of the ten
times as many images with the smallest margins those are taken, one after the
other, that are furthest from all that are taken already, weighted by how
unsure the head is: copies of one hard image are suggested once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.layers import Model
from extractor.indexes import unit
from extractor.results import Vector

CANDIDATES = 10
"""Times as many as are suggested."""


class Suggestion(NamedTuple):
    """An image that is worth a label.

    Attributes
    ----------
    row : int
    likely : int
        The place of the most probable class.
    probability : float
        Of that class.
    margin : float
        By how much it is more probable than the next: 0 when the head cannot tell.
    entropy : float
        In bits.
    """

    row: int
    likely: int
    probability: float
    margin: float
    entropy: float


def suggest(model: Model, X: Vector, count: int) -> list[Suggestion]:
    """The images that are worth a label most, in the order to label them.

    Parameters
    ----------
    model : Model
    X : float32 array of shape (n, dim)
        Embeddings of unlabelled images.
    count : int
    """
    if not len(X) or count < 1:
        return []
    probabilities = model.probabilities(X)
    margin = margins(probabilities, model.multi_label)
    candidates = np.argsort(margin, kind="stable")[: CANDIDATES * count]
    chosen = candidates[_spread(unit(X[candidates], X.shape[1]), 1 - margin[candidates], count)]
    entropy = _entropy(probabilities, model.multi_label)
    return [
        Suggestion(
            row,
            int(probabilities[row].argmax()),
            float(probabilities[row].max()),
            float(margin[row]),
            float(entropy[row]),
        )
        for row in chosen.tolist()
    ]


def margins(probabilities: NDArray[np.float64], multi_label: bool) -> NDArray[np.float64]:
    """How much more probable the first class is than the second; of several labels, the least sure one."""
    if multi_label:
        return np.asarray(2 * np.abs(probabilities - 0.5).min(axis=1))
    first = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(first[:, 1] - first[:, 0])


def _entropy(probabilities: NDArray[np.float64], multi_label: bool) -> NDArray[np.float64]:
    inside = np.clip(probabilities, 1e-12, 1)
    bits = -(inside * np.log2(inside)).sum(axis=1)
    if multi_label:
        rest = np.clip(1 - probabilities, 1e-12, 1)
        bits -= (rest * np.log2(rest)).sum(axis=1)
    return np.asarray(bits)


def _spread(units: Vector, unsure: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Places of rows, the least sure first, then the furthest from all before; none twice."""
    chosen = [int(unsure.argmax())]
    distance = 1 - units @ units[chosen[0]]
    while len(chosen) < min(count, len(units)):
        worth = np.maximum(distance, 0) * (unsure + 1e-6)
        if worth.max() <= 1e-5 * (unsure.max() + 1e-6):
            break
        chosen.append(int(worth.argmax()))
        distance = np.minimum(distance, 1 - units @ units[chosen[-1]])
    return np.array(chosen, np.intp)
