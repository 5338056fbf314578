"""Measures which batch size and number of parallel runs suit this machine, and chooses."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extractor import images
from extractor.backbones import cuda
from extractor.backbones import session as sessions
from extractor.backbones.bundle import Bundle
from extractor.backbones.measured import Measured, Measurements
from extractor.backbones.providers import Numerics
from extractor.backbones.schedule import ON_GPU, Schedule, Tuning
from extractor.backbones.session import Session
from extractor.errors import Unavailable
from extractor.settings import DataFolder, cores

log = logging.getLogger(__name__)

Run = Callable[[Sequence[NDArray[np.uint8]]], object]

SIZES = (1, 2, 4, 8, 16, 32, 64)
FEW_SIZES = (1, 8, 32)

TIE = 0.05
"""Part of the throughput within which two schedules are alike."""

UNDISTURBED = 0.85
"""Part of the processor that runs on a CPU must have had, or their figures are another program's."""

_DISTURBED = (
    "other work took a part of the processor, so the figures say little and the usual schedule is taken; "
    "measure again when the machine is idle"
)

SLOWER = 0.05
"""A batch size whose throughput is less than the best by this part ends the measuring."""


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Effort:
    """How long measuring may take.

    Attributes
    ----------
    passes : int
        How often each pair of batch size and parallel runs is measured. They
        are apart in time and the best one counts, since what else the machine
        does can only slow it down.
    seconds : float
        How long each time.
    budget : float
        Seconds of measuring, without the preparations, after which no more is begun.
    sizes : tuple of int
        Batch sizes, the smallest first.
    memory : callable
        How many bytes are in use.
    """

    passes: int = 3
    seconds: float = 0.1
    budget: float = 5.0
    sizes: tuple[int, ...] = SIZES
    memory: Callable[[], int] = resident_bytes


USUAL_EFFORT = Effort()


def effort(numerics: Numerics) -> Effort:
    """What is worth while: where every batch size takes minutes to prepare, there are few."""
    sizes = FEW_SIZES if numerics.provider == "tensorrt" else SIZES
    memory = (lambda: cuda.used_bytes() or 0) if numerics.on_gpu else resident_bytes
    return Effort(sizes=sizes, memory=memory)


def open_tuned(
    bundle: Bundle,
    data: DataFolder,
    provider: str = "auto",
    precision: str = "auto",
    tuning: Tuning | None = None,
) -> tuple[Session, float]:
    """The session that `open_session` gives, on the schedule that suits this machine, and its cosine.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
        Where measurements are remembered.
    provider, precision : str
        As for `open_session`.
    tuning : Tuning, optional
        What is told, and whether to measure.

    Raises
    ------
    InvalidArgument, Unavailable
        As `open_session`. That something cannot be measured or remembered is
        only logged.
    """
    tuning = tuning or Tuning()
    kept = Measurements(data, bundle, tuning.latency_bound)

    def plan(numerics: Numerics) -> Schedule:
        usual = Schedule.usual(numerics.provider)
        return tuning.applied(usual) if tuning.told else planned(numerics, kept)

    order = functools.partial(fastest_first, kept=kept)
    opened = sessions.open_session(bundle, provider, precision, plan, data, order)
    numerics = opened[0].numerics
    wanted = tuning.measure == "always" or (tuning.measure == "once" and not kept.read(numerics))
    return opened if tuning.told or not wanted else _retuned(*opened, bundle, kept)


def _retuned(session: Session, cosine: float, bundle: Bundle, kept: Measurements) -> tuple[Session, float]:
    """Measured, and on the schedule that was chosen; on the one that it has when that cannot be opened."""
    tuned = tune(bundle, session.numerics, kept)
    if tuned.trouble:
        log.warning("what was measured is not remembered: %s", tuned.trouble)
    if tuned.schedule == session.schedule:
        return session, cosine
    try:
        better = sessions.Session(bundle, session.numerics, tuned.schedule, kept.data)
        return better, better.prove(bundle)
    except Unavailable as error:
        log.warning("it stays at %s: %s", session.schedule, error)
        return session, cosine


def planned(numerics: Numerics, kept: Measurements) -> Schedule:
    """What was measured to be the best on this machine, or else the usual."""
    known = kept.read(numerics)
    return choose(known, kept.latency_bound).schedule if known else Schedule.usual(numerics.provider)


def fastest_first(wanted: Iterable[Numerics], kept: Measurements) -> list[Numerics]:
    """As was measured on this machine, when all were; else as they are."""
    candidates = list(wanted)
    tables = {numerics: kept.read(numerics) for numerics in candidates}
    if not all(tables.values()):
        return candidates
    return sorted(candidates, key=lambda numerics: -_speed(choose(tables[numerics], kept.latency_bound)))


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of measuring.

    Attributes
    ----------
    schedule : Schedule
        The choice; the usual one when there is trouble with the figures.
    table : list of Measured
    trouble : str
        Why it was not remembered; empty when it was.
    """

    schedule: Schedule
    table: list[Measured]
    trouble: str = ""


def tune(bundle: Bundle, numerics: Numerics, kept: Measurements) -> Tuned:
    """Measure `numerics`, choose, and remember; the choice is logged, and each line at debug."""

    def open_run(size: int) -> Run:
        return sessions.Session(bundle, numerics, Schedule(size, 1), kept.data).run

    pixels, began = _golden_pixels(bundle), time.monotonic()
    table = measure(open_run, pixels, parallels(numerics.provider), kept.latency_bound, effort(numerics))
    for row in table:
        log.debug("%s: %s", numerics, row)
    tuned = _judged(numerics, table, kept)
    log.info("%s was measured in %.1f s: %s", numerics, time.monotonic() - began, tuned.schedule)
    return tuned


def glance(session: Session, bundle: Bundle) -> Tuned:
    """Measure a session briefly, on the schedule that it has and with one run at a time; nothing is kept."""
    schedule = session.schedule
    brief = replace(effort(session.numerics), passes=1, sizes=(schedule.max_batch,))
    parallel = sorted({1, schedule.parallel})
    table = measure(lambda _: session.run, _golden_pixels(bundle), parallel, math.inf, brief)
    return Tuned(schedule, table, "" if table else "the network could not be run")


def _golden_pixels(bundle: Bundle) -> list[NDArray[np.uint8]]:
    """As the network gets them; of its profile only the decoding is left out."""
    return [images.decode(item.image, bundle.manifest.preprocessing.exact) for item in bundle.golden()]


def _judged(numerics: Numerics, table: list[Measured], kept: Measurements) -> Tuned:
    """The choice, remembered unless the figures say little."""
    usual = Schedule.usual(numerics.provider)
    if not table:
        return Tuned(usual, table, "the network could not be run")
    if not numerics.on_gpu and min(row.share for row in table) < UNDISTURBED:
        return Tuned(usual, table, _DISTURBED)
    chosen = choose(table, kept.latency_bound).schedule
    try:
        kept.write(numerics, table)
    except OSError as error:
        return Tuned(chosen, table, str(error))
    return Tuned(chosen, table)


def parallels(provider: str) -> tuple[int, ...]:
    """Numbers of parallel runs worth measuring; on a CPU a run has one thread."""
    if provider in ON_GPU:
        return (1, 2, 4)
    return tuple(sorted({1, max(cores() // 2, 1), cores()}))


def choose(table: Sequence[Measured], latency_bound: float) -> Measured:
    """The best throughput under the bound; of those alike, the smallest batch and then the fewest runs.

    The bound is on the median: the slowest runs tell of what else the machine
    did. When nothing is under it, the fastest run is taken.
    """
    allowed = [row for row in table if row.p50 <= latency_bound] or [min(table, key=lambda row: row.p50)]
    best = max(map(_speed, allowed))
    alike = [row for row in allowed if row.images_per_second >= (1 - TIE) * best]
    return min(alike, key=lambda row: (row.batch_size, row.parallel))


def measure(
    open_run: Callable[[int], Run],
    pixels: Sequence[NDArray[np.uint8]],
    parallel: Sequence[int],
    latency_bound: float,
    effort: Effort = USUAL_EFFORT,
) -> list[Measured]:
    """Throughput and latency by batch size and parallel runs, while larger batches may still be better.

    Parameters
    ----------
    open_run : callable
        Given a batch size, what runs batches of it; may raise.
    pixels : sequence of uint8 arrays of shape (height, width, 3)
        Pictures to run.
    parallel : sequence of int
        Numbers of parallel runs.
    latency_bound : float
        Seconds; a batch size that exceeds it is the last.
    """
    spent = 0.0

    def rows_of(size: int) -> list[Measured]:
        nonlocal spent
        try:
            run, batch = open_run(size), _batch(pixels, size)
            run(batch)  # the first of a size prepares it
            begun = time.monotonic()
            rows = [_measured(run, batch, count, effort) for count in parallel]
            spent += time.monotonic() - begun
            return rows
        except Exception as error:  # noqa: BLE001 - as when a GPU's memory is full: smaller ones will do
            log.warning("batches of %d cannot be run: %s", size, error)
            return []

    table = _climb(rows_of, effort.sizes, latency_bound, lambda: spent > effort.budget)
    sizes = sorted({row.batch_size for row in table})
    for size in sizes * (effort.passes - 1):
        if spent < effort.budget:
            table += rows_of(size)
    best = {(row.batch_size, row.parallel): row for row in sorted(table, key=_speed)}
    return [best[pair] for pair in sorted(best)]


def _climb(
    rows_of: Callable[[int], list[Measured]],
    sizes: Iterable[int],
    latency_bound: float,
    over: Callable[[], bool],
) -> list[Measured]:
    """The rows of each batch size up to the one that is slow, late, the last, or cannot be run."""
    table: list[Measured] = []
    for size in sizes:
        rows = rows_of(size)
        if not rows:
            break
        fastest = max(map(_speed, rows))
        slower = fastest < (1 - SLOWER) * max(map(_speed, table), default=0.0)
        table += rows
        if slower or min(row.p50 for row in rows) > latency_bound or over():
            break
    return table


def _measured(run: Run, batch: Sequence[NDArray[np.uint8]], parallel: int, effort: Effort) -> Measured:
    worked = time.process_time()
    times, elapsed = _timed(run, batch, parallel, effort.seconds)
    share = (time.process_time() - worked) / elapsed / parallel
    p50, p99 = (float(value) for value in np.percentile(times, (50, 99)))
    return Measured(len(batch), parallel, len(times) * len(batch) / elapsed, p50, p99, share, effort.memory())


def _timed(
    run: Run, batch: Sequence[NDArray[np.uint8]], parallel: int, seconds: float
) -> tuple[list[float], float]:
    """The seconds of every run, `parallel` at a time for about `seconds`, and how long it really took."""
    start = threading.Barrier(parallel)

    def repeat() -> list[float]:
        start.wait()
        return list(_run_times(run, batch, time.perf_counter() + seconds))

    with ThreadPoolExecutor(parallel) as pool:
        began = time.perf_counter()
        each = [future.result() for future in [pool.submit(repeat) for _ in range(parallel)]]
        elapsed = time.perf_counter() - began
    return [seconds for times in each for seconds in times], elapsed


def _run_times(run: Run, batch: Sequence[NDArray[np.uint8]], end: float) -> Iterator[float]:
    """At least one."""
    now = time.perf_counter()
    while True:
        run(batch)
        before, now = now, time.perf_counter()
        yield now - before
        if now >= end:
            return


def _batch(pixels: Sequence[NDArray[np.uint8]], size: int) -> list[NDArray[np.uint8]]:
    return list(itertools.islice(itertools.cycle(pixels), size))


def _speed(row: Measured) -> float:
    return row.images_per_second
