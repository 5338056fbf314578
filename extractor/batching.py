"""Joins items of many callers into batches for a few workers; knows nothing of images."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from extractor.pool import Pool

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Ran(NamedTuple, Generic[R]):
    """What became of one item.

    Attributes
    ----------
    output : object
        What `run` gave for it.
    queue, inference : float
        Seconds that it waited for its batch, and that the batch ran.
    batch_size : int
        Items in the batch.
    """

    output: R
    queue: float
    inference: float
    batch_size: int


Done: TypeAlias = Callable[[Ran[R] | BaseException], object]
"""Is called once, with what became of an item, in the thread that ran it."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    item: T
    done: Done[R]
    wanted: Callable[[], bool]
    entered: float = field(default_factory=time.monotonic)


class Batcher(Generic[T, R]):
    """Runs `run` on batches of what was submitted, in `workers` threads.

    Greedy: a free worker takes what is there, up to `max_batch`, and waits for
    no more unless `max_delay` says so. A batch that fails is retried by halves until the culprit
    is alone, so an item's failure is its own.

    Parameters
    ----------
    run : callable
        Takes a sequence of items and returns one output for each, in order.
        Called from several threads at once.
    max_batch : int
        Largest number of items in one call of `run`.
    workers : int
        Number of calls of `run` at the same time.
    max_delay : float
        Seconds that an item may wait for others to fill its batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        max_batch: int,
        workers: int,
        max_delay: float = 0.0,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._pool: Pool[_Entry[T, R]] = Pool(self._work, workers, "batch")

    def submit(self, item: T, done: Done[R], wanted: Callable[[], bool] = lambda: True) -> None:
        """Queue one item.

        Parameters
        ----------
        item : object
        done : callable
            See `Done`.
        wanted : callable
            Asked when the item's turn comes; when it says no, the item is not
            run, and `done` is not called.

        Raises
        ------
        Unavailable
            After `close`.
        """
        self._pool.put(_Entry(item, done, wanted))

    @property
    def alive(self) -> bool:
        """Whether every worker is there to take the next batch."""
        return self._pool.alive

    def close(self) -> None:
        """Finish what was submitted, then end the workers."""
        self._pool.close()

    def _work(self, first: _Entry[T, R]) -> None:
        live = [entry for entry in self._fill(first) if entry.wanted()]
        if live:
            self._answer(live)

    def _fill(self, first: _Entry[T, R]) -> list[_Entry[T, R]]:
        """A batch that begins with `first`."""
        batch = [first]
        latest = first.entered + self._max_delay
        while len(batch) < self._max_batch:
            try:
                batch.append(self._pool.take(max(0.0, latest - time.monotonic())))
            except Empty:
                break
        return batch

    def _answer(self, batch: list[_Entry[T, R]]) -> None:
        begun = time.monotonic()
        try:
            outputs = self._run([entry.item for entry in batch])
            answered = list(zip(batch, outputs, strict=True))
        except BaseException as error:  # noqa: BLE001 - the loop outlives whatever the runtime does
            self._blame(batch, error)
            return
        seconds = time.monotonic() - begun
        for entry, output in answered:
            _tell(entry.done, Ran(output, begun - entry.entered, seconds, len(batch)))

    def _blame(self, batch: list[_Entry[T, R]], error: BaseException) -> None:
        if len(batch) == 1:
            _tell(batch[0].done, error)
            return
        log.warning("a batch of %d failed and is retried by halves: %s", len(batch), error)
        half = len(batch) // 2
        self._answer(batch[:half])
        self._answer(batch[half:])


class Direct(Generic[T, R]):
    """Runs each item at once, in the thread that submits it.

    For a processor on which a batch of one is as fast as any: no thread hands
    over to another. As many run at once as there are submitting threads.

    Parameters
    ----------
    run : callable
        As for `Batcher`.
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._run = run

    alive = True

    def submit(self, item: T, done: Done[R], wanted: Callable[[], bool] = lambda: True) -> None:
        """Run one item; parameters as for `Batcher.submit`."""
        if not wanted():
            return
        begun = time.monotonic()
        outcome: Ran[R] | BaseException
        try:
            (output,) = self._run([item])
            outcome = Ran(output, 0.0, time.monotonic() - begun, 1)
        except BaseException as error:  # noqa: BLE001 - as in Batcher: an item's failure is its own
            outcome = error
        _tell(done, outcome)

    def close(self) -> None:
        """Nothing runs but in `submit`."""


def compute(batcher: Batcher[T, R] | Direct[T, R], item: T) -> Ran[R]:
    """Submit one item and wait for what becomes of it; raises what its run raised."""
    future: Future[Ran[R]] = Future()

    def done(outcome: Ran[R] | BaseException) -> None:
        if isinstance(outcome, Ran):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    batcher.submit(item, done)
    return future.result()


def _tell(done: Done[R], outcome: Ran[R] | BaseException) -> None:
    """A fault in what is done with one item keeps no other from its answer."""
    try:
        done(outcome)
    except Exception:
        log.exception("an item that was run could not be answered")
