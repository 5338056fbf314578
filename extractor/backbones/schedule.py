"""How images become runs of a network: how many at once in one run, and how many runs at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from extractor.errors import InvalidArgument
from extractor.settings import cores

LARGEST_BATCH = 256
ON_GPU = ("cuda", "tensorrt")
"""The providers that compute on a GPU, which wants batches."""
LATENCY_BOUND = 0.05
"""Seconds that a run may take, when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What keeps one provider on one machine busy.

    Attributes
    ----------
    max_batch : int
        Largest number of images in a run.
    parallel : int
        Number of runs at once.
    """

    max_batch: int
    parallel: int

    @classmethod
    def usual(cls, provider: str) -> Schedule:
        """What suits most machines: a GPU wants batches, a CPU one image a run and a run a core."""
        return cls(32, 2) if provider in ON_GPU else cls(1, cores())

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that runs have: few, since every one is prepared and proved at the start."""
        sizes = [self.max_batch]
        while sizes[-1] > 1:
            sizes.append(max(sizes[-1] // 4, 1))
        return tuple(reversed(sizes))

    @property
    def direct(self) -> bool:
        """Whether every thread may run its own image: one a run and a run a core, as is usual on a CPU.

        Any other number of runs is kept to exactly; here the cores hold back
        the threads, of which an embedder has one or two for each.
        """
        return self == Schedule(1, cores())

    def __str__(self) -> str:
        batch = "one image" if self.max_batch == 1 else f"up to {self.max_batch} images"
        return (
            f"{batch} a run, {self.parallel} at once"
            if self.parallel > 1
            else f"{batch} a run, one at a time"
        )


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is told of the schedule; the rest is what was measured on this machine, or the usual.

    Parameters
    ----------
    batch_size : int, optional
        Largest batch.
    parallel : int, optional
        Number of runs at once.
    max_delay : float
        Seconds that a batch which is not full waits for more.
    latency_bound : float
        Seconds that a run may take in the schedule that is chosen.
    measure : {"never", "once", "always"}
        Whether to measure on loading: never (what is remembered is taken), where
        nothing is remembered, or in any case. What is told is never measured.

    Raises
    ------
    InvalidArgument
        When a number is out of range.
    """

    batch_size: int | None = None
    parallel: int | None = None
    max_delay: float = 0.0
    latency_bound: float = LATENCY_BOUND
    measure: Literal["never", "once", "always"] = "never"

    def __post_init__(self) -> None:
        _check("the batch size", self.batch_size, 1, LARGEST_BATCH)
        _check("the number of parallel runs", self.parallel, 1, 1024)
        _check("the delay of a batch, in seconds,", self.max_delay, 0, 60)
        _check("the bound on the latency, in seconds,", self.latency_bound, 0.0001, 3600)

    @property
    def told(self) -> bool:
        """Whether there is nothing to choose."""
        return self.batch_size is not None or self.parallel is not None

    def applied(self, schedule: Schedule) -> Schedule:
        """The schedule, with what was told in its place."""
        return replace(
            schedule,
            max_batch=self.batch_size or schedule.max_batch,
            parallel=self.parallel or schedule.parallel,
        )


def _check(what: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidArgument(f"{what} is from {least:g} to {most:g}, not {value:g}")
