"""How far a figure may be from what many more images would give: 95 % intervals.

A share has E. B. Wilson's interval (1927). F1 is a function of one share, the
right answers among the images that are of the class or are taken for it, so
that share's interval gives its own. Means over classes are bootstrapped: tables
as large as the one that was seen are drawn again and again, from it and one
and a half images more, spread over the cells, so that a table without an error
does not claim that there can be none. A mean of many values is bootstrapped as it is.
All draws are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

Z95 = 1.959964
"""The normal quantile of a 95 % interval."""

DRAWS = 2000
"""Of a bootstrap."""

PRIOR = 1.5
"""Images that are added to a table before it is drawn from, spread evenly over its cells."""

_AT_ONCE = 2_000_000  # cells that are drawn at a time
_CELLS = 20_000_000  # that are drawn in all, beyond the first hundred tables

Interval: TypeAlias = tuple[float, float]
Floats: TypeAlias = NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson_interval(right: float, n: float) -> Interval:
    """The 95 % interval of a share, by E. B. Wilson (1927); unlike the normal one it stays within 0..1."""
    share = right / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    # at the ends the sum is 0 or 1 but for rounding
    return max(middle - half, 0.0) if right else 0.0, min(middle + half, 1.0) if right < n else 1.0


def f1_interval(right: int, in_truth: int, in_answers: int) -> Interval | None:
    """The 95 % interval of a class's F1; None when nothing is of the class or taken for it.

    With J the share of right answers among the images that are of the class
    or are taken for it, F1 is 2 J / (1 + J).
    """
    either = in_truth + in_answers - right
    if not either:
        return None
    low, high = wilson_interval(right, either)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def table_intervals(
    counts: NDArray[np.int64], figures: Callable[[NDArray[Any]], Sequence[Floats]], seed: int = 0
) -> list[Interval]:
    """Bootstrap what is computed of a table of truths (rows) and answers (columns).

    The number of images of each class stays what it was, and classes that do
    not occur are left out. By how much the draws are on average off the figure
    of what they are drawn from is taken off, since F1 of few images is too low.

    Parameters
    ----------
    counts : int array of shape (classes, classes)
    figures : callable
        Of tables of shape (draws, classes, classes) gives arrays of shape (draws,).
    seed : int
    """
    occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
    counts = counts[np.ix_(occurs, occurs)]
    supports = counts.sum(axis=1)
    shares = (counts + PRIOR / counts.size) / (supports + PRIOR / len(counts))[:, None]
    drawn = _drawn_tables(supports, shares, figures, np.random.default_rng(seed))
    source, seen = (figures(table[None]) for table in (shares * supports[:, None], counts))
    return [
        _about(float(value[0]), *_middle(draws + (of[0] - draws.mean())))
        for value, of, draws in zip(seen, source, drawn, strict=True)
    ]


def _drawn_tables(
    supports: NDArray[np.int64],
    shares: Floats,
    figures: Callable[[NDArray[Any]], Sequence[Floats]],
    rng: np.random.Generator,
) -> list[Floats]:
    at_once = max(_AT_ONCE // shares.size, 1)
    draws = min(DRAWS, max(_CELLS // shares.size, 100))
    parts = [
        figures(rng.multinomial(supports, shares, size=(min(at_once, draws - start), len(shares))))
        for start in range(0, draws, at_once)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _about(value: float, low: float, high: float) -> Interval:
    """Ends within 0..1, the value between them."""
    return max(min(low, value), 0.0), min(max(high, value), 1.0)


def mean_interval(values: ArrayLike, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Bootstrap the mean of values of shape (n,)."""
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    n = len(array)
    at_once = max(_AT_ONCE // n, 1)
    means = [
        array[rng.integers(n, size=(min(at_once, draws - start), n))].mean(axis=1)
        for start in range(0, draws, at_once)
    ]
    return _middle(np.concatenate(means))


def resampled_interval(values: ArrayLike, test_share: float) -> Interval:
    """The 95 % interval of the mean over repeated splits, whose training parts overlap.

    C. Nadeau and Y. Bengio, "Inference for the Generalization Error" (Machine
    Learning 52, 2003): the variance of J results is counted 1/J + n_test/n_train
    times rather than 1/J.

    Parameters
    ----------
    values : array-like of shape (splits,)
        At least two.
    test_share : float
        Of the images that are held out in each.
    """
    array = np.asarray(values, np.float64)
    scale = 1 / len(array) + test_share / (1 - test_share)
    half = float(student.ppf(0.975, len(array) - 1) * math.sqrt(scale * array.var(ddof=1)))
    return float(array.mean()) - half, float(array.mean()) + half


def _middle(draws: Floats) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return low, high
