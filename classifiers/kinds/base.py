"""What a kind of head is made of: how it is fitted, and which settings are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from classifiers.layers import Layer
from extractor.results import Vector

Targets: TypeAlias = NDArray[Any]
"""The place of each row's class, int of shape (n,); for several labels a row, bool of shape (n, classes)."""

Found = TypeVar("Found")

PAST = 1.02
"""Times the smallest loss is clearly worse."""


class Setting(NamedTuple):
    """What cross-validation chooses; a kind uses what it has a use for.

    Attributes
    ----------
    strength : float or None
        Of the penalty, in `mean(loss) + strength / 2 * |weights|**2`: 1 / (C n)
        in scikit-learn's terms. It keeps its meaning when the number of rows
        changes; C does not. (Of `rbf-svm` 1 / C.)
    gamma : float or None
        Of a radial basis function, times the width of the rows.
    neighbours : int or None
        How many vote.
    """

    strength: float | None = None
    gamma: float | None = None
    neighbours: int | None = None

    def named(self) -> dict[str, float]:
        """Those that are used."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Scaled rows to fit on.

    Attributes
    ----------
    X : float32 array of shape (n, dim)
    y : Targets
    weights : float64 array of shape (n,)
        Of mean one.
    classes : int
    seed : int
    """

    X: Vector
    y: Targets
    weights: NDArray[np.float64]
    classes: int
    seed: int = 0

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.y.ndim == 2)

    @property
    def membership(self) -> NDArray[np.bool_]:
        """Which row is of which class: shape (n, classes)."""
        if self.multi_label:
            return self.y
        member: NDArray[np.bool_] = self.y[:, None] == np.arange(self.classes)
        return member


class Search(Protocol):
    """Tries settings on rows that are held out, and remembers what came of each."""

    def __call__(self, setting: Setting) -> float:
        """The loss with this setting."""
        ...

    def best(self) -> Setting:
        """Which was right most often, of those that are nearly as likely as any."""
        ...

    def odds(self) -> Mapping[Setting, float]:
        """Of those that may be best: one for the best, and less for others."""
        ...


class Fitter(Protocol):
    """Fits the same rows with one setting after another, keeping what they share."""

    converged: bool
    """Whether the last fit did."""

    def __call__(self, setting: Setting) -> Layer:
        """Fit with this setting."""
        ...


class Kind(Protocol):
    """A kind of head."""

    @property
    def name(self) -> str:
        """As the user calls it."""
        ...

    @property
    def title(self) -> str:
        """As a report calls it."""
        ...

    @property
    def calibrated(self) -> bool:
        """Whether its scores are log probabilities as they come."""
        ...

    @property
    def per_row(self) -> bool:
        """Whether its strength, beside the mean loss of a row, is to fall a little as rows are added."""
        ...

    @property
    def default(self) -> Setting:
        """For too few rows to choose."""
        ...

    def fitter(self, rows: Rows, thorough: bool) -> Fitter:
        """Ready to fit `rows`; `thorough` until it converges, else as well as ranking settings needs."""
        ...

    def search(self, search: Search) -> Setting:
        """Try one setting after another, and choose one of them."""
        ...


def nearest(found: Mapping[float, Found], strength: float) -> Found | None:
    """What was found with the strength that is nearest to this one; None when nothing was."""
    return found[min(found, key=lambda other: abs(np.log(other / strength)))] if found else None


def decades(search: Search, first: int, last: int, default: float) -> Setting:
    """Try strengths from 10**first, strong, to 10**last until past the best; then between, and settle.

    Past it is what is clearly worse, or two that are no better: the weakest
    take longest to fit. Between are the halves around the least loss, and the
    quarters around what is best.
    """
    tried: dict[float, float] = {}

    def attempt(exponent: float) -> None:
        tried[exponent] = search(Setting(strength=10.0**exponent))

    def least() -> float:
        # where the loss says nothing, as when every strength parts the classes, common use decides
        return min(tried, key=lambda exponent: (round(tried[exponent], 3), abs(exponent - np.log10(default))))

    for exponent in range(first, last - 1, -1):
        attempt(exponent)
        if least() - exponent >= 2 or tried[exponent] > PAST * tried[least()] + 1e-3:
            break
    middle = least()
    for half in (middle + 0.5, middle - 0.5):
        attempt(half)
    best = _exponent(search.best())
    if min(tried) < best < max(tried):
        for quarter in (best + 0.25, best - 0.25):
            attempt(quarter)
    return _settled(search)


def _settled(search: Search) -> Setting:
    """The mean of those that may be best: which of them happens to be is chance for the most part.

    Where they are no one stretch, and the mean is none of them, the best.
    """
    odds = search.odds()
    mean = np.average([_exponent(setting) for setting in odds], weights=list(odds.values()))
    settled = Setting(strength=10.0 ** round(float(mean), 2))
    search(settled)
    return settled if settled in search.odds() else search.best()


def _exponent(setting: Setting) -> float:
    return round(float(np.log10(setting.strength or 1.0)), 2)
