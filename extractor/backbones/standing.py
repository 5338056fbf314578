"""What each provider is worth here: installed, usable, proved, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from extractor.backbones.bundle import Bundle
from extractor.backbones.measured import Measured, Measurements
from extractor.backbones.providers import (
    INSTALL,
    ONNX_NAMES,
    Numerics,
    installed_providers,
    wanted,
)
from extractor.backbones.session import Session
from extractor.backbones.tuning import Tuned, glance, planned
from extractor.errors import PenultimateError


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found of one provider with one precision.

    Attributes
    ----------
    provider, precision : str
    golden_cosine, golden_median : float, optional
        The smallest and the median, to the vectors of the original network;
        None when it does not pass.
    batch_size, parallel : int, optional
        The schedule that is taken.
    trouble : str
        Why it does not pass, or nothing is remembered; empty when all is well.
    table : list of Measured
    """

    provider: str
    precision: str
    golden_cosine: float | None = None
    golden_median: float | None = None
    batch_size: int | None = None
    parallel: int | None = None
    trouble: str = ""
    table: list[Measured] = field(default_factory=list)

    def __str__(self) -> str:
        if self.golden_cosine is None:
            return f"{self.precision} does not pass ({self.trouble})"
        return f"{self.precision} passes (smallest cosine {self.golden_cosine:.5f})"


def standing(
    bundle: Bundle, numerics: Numerics, kept: Measurements, measure: Callable[[Session], Tuned]
) -> Standing:
    """Prove a network on one provider, and measure it if it passes."""
    try:
        session = Session(bundle, numerics, planned(numerics, kept), kept.data)
        cosine, middle = session.prove(bundle), median(session.golden_cosines(bundle))
    except PenultimateError as error:
        return Standing(*numerics, trouble=str(error))
    tuned = measure(session)
    chosen = tuned.schedule
    return Standing(*numerics, cosine, middle, chosen.max_batch, chosen.parallel, tuned.trouble, tuned.table)


class Overview(NamedTuple):
    """One provider: its name, what is to be said of it, and its precisions that were tried."""

    provider: str
    sentence: str
    standings: list[Standing]


def overviews(bundle: Bundle, kept: Measurements, named: str = "auto") -> Iterator[Overview]:
    """Each provider, with a brief measurement of every precision that passes.

    Parameters
    ----------
    bundle : Bundle
    kept : Measurements
        What is remembered, from which the schedules are.
    named : str
        The provider that the user asked for: TensorRT, whose engine takes minutes
        to build, is tried only when it was, or when its engine is there.
    """
    for provider in ONNX_NAMES:
        if provider in installed_providers():
            yield _overview(bundle, kept, provider, named)
        else:
            advice = f"not installed: pip install {INSTALL[provider]} in a new environment"
            yield Overview(provider, advice, [])


def _overview(bundle: Bundle, kept: Measurements, provider: str, named: str) -> Overview:
    """What became of each precision that would be tried."""
    asked = "auto" if provider == "tensorrt" != named else provider
    candidates = [one for one in wanted(asked, "auto", bundle, kept.data) if one.provider == provider]
    found = [standing(bundle, one, kept, lambda session: glance(session, bundle)) for one in candidates]
    none = "no engine is built yet: `penultimate tune --provider tensorrt` does"
    return Overview(provider, "installed; " + (", ".join(map(str, found)) or none), found)
