"""How an error falls with the number of labels, and how many more one point takes.

The errors of heads that are fitted on growing shares follow
`floor + slope * n ** -power` (Hestness et al., "Deep Learning Scaling is
Predictable, Empirically", 2017). Its uncertainty is that of drawing the repeats
again: every draw is fitted anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm as normal
from scipy.stats import t as student

POINT = 0.01
"""The gain that is asked for."""

FURTHEST = 10.0
"""Times the labels at hand: what lies beyond is not foretold."""

DRAWS = 400

_POWERS = np.linspace(0.05, 1.5, 59)
_SURE = 0.8  # of the draws
_VAGUE = 10.0  # an interval whose ends are further apart says nothing

Verdict: TypeAlias = Literal["labels", "flat", "unclear"]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Advice:
    """What more labels would give.

    Attributes
    ----------
    verdict : {"labels", "flat", "unclear"}
        So many labels give a point; even ten times as many probably do not
        ("flat"); the curve does not say.
    more : int or None
        Labels beyond those at hand that one more point takes, about.
    interval : tuple of int, or None
        90 % of the draws lie within: of simulated curves, it holds the truth in three of four.
    floor : float
        The error that the curve falls towards.
    power : float
    """

    verdict: Verdict
    more: int | None
    interval: tuple[int, int] | None
    floor: float
    power: float


def fitted(sizes: Floats, errors: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """The weighted least squares fit of many curves at once, floor and slope not below zero.

    Parameters
    ----------
    sizes, weights : arrays of shape (points,)
    errors : array of shape (curves, points)

    Returns
    -------
    floor, slope, power : arrays of shape (curves,)
    """
    basis = sizes[None] ** -_POWERS[:, None]  # (powers, points)
    share = weights / weights.sum()
    mean_b, mean_e = basis @ share, errors @ share
    spread = ((basis - mean_b[:, None]) ** 2) @ share
    slope = ((errors - mean_e[:, None]) * share) @ (basis - mean_b[:, None]).T / spread
    slope = np.maximum(slope, 0)
    floor = mean_e[:, None] - slope * mean_b
    through = (errors * share) @ basis.T / ((basis**2) @ share)  # where the floor would be below zero
    slope = np.where(floor < 0, np.maximum(through, 0), slope)
    floor = np.maximum(floor, 0)
    loss = (((floor[..., None] + slope[..., None] * basis - errors[:, None]) ** 2) * share).sum(axis=2)
    best = loss.argmin(axis=1)
    rows = np.arange(len(errors))
    return floor[rows, best], slope[rows, best], _POWERS[best]


def advise(sizes: Floats, errors: Floats, seed: int = 0) -> Advice:
    """Say how many more labels one more point takes.

    Parameters
    ----------
    sizes : array of shape (points,)
        Labels that were fitted on, ascending; the last are all that there are.
    errors : array of shape (repeats, points)
        Shares of wrong answers.
    seed : int
    """
    repeats = len(errors)
    weights = 1 / np.maximum(errors.var(axis=0, ddof=1) if repeats > 1 else np.ones(len(sizes)), 1e-6)
    floor, _, power = fitted(sizes, errors.mean(axis=0)[None], weights)
    found = float(floor[0]), float(power[0])
    if repeats < 3 or len(sizes) < 4:
        return Advice("unclear", None, None, *found)
    rng = np.random.default_rng(seed)
    drawn = _redrawn(errors, rng)
    _, slopes, powers = fitted(sizes, drawn, weights)
    more = _more(slopes, powers, float(sizes[-1]))
    low, middle, high = (float(each) for each in np.quantile(more, (0.05, 0.5, 0.95), method="nearest"))
    most = FURTHEST * float(sizes[-1])
    if (more > most).mean() >= _SURE:
        return Advice("flat", None, None, *found)
    if high > most or high > _VAGUE * max(low, 1.0):
        return Advice("unclear", None, None, *found)
    return Advice("labels", _rounded(middle), (_rounded(low), _rounded(high)), *found)


def _redrawn(errors: Floats, rng: np.random.Generator) -> Floats:
    """Mean curves of repeats that are drawn again, as far apart as Student's t says of so few."""
    repeats, middle = len(errors), errors.mean(axis=0)
    drawn = errors[rng.integers(repeats, size=(DRAWS, repeats))].mean(axis=1)
    wider = math.sqrt(repeats / (repeats - 1)) * student.ppf(0.9, repeats - 1) / normal.ppf(0.9)
    return np.asarray(middle + wider * (drawn - middle), np.float64)


def _more(slope: Floats, power: Floats, size: float) -> Floats:
    """Labels beyond `size` until the error is a point smaller; infinite where it never is."""
    now = slope * size**-power
    wanted = now - POINT
    with np.errstate(divide="ignore", over="ignore"):
        there = (slope / np.maximum(wanted, 1e-12)) ** (1 / power)
    return np.where(wanted > 0, there - size, np.inf)


def _rounded(labels: float) -> int:
    """Two digits are more than is known."""
    if labels < 10:
        return max(math.ceil(labels), 1)
    step = 10 ** (math.floor(math.log10(labels)) - 1)
    return int(round(labels / step) * step)
