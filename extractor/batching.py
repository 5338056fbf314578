"""Joins items of many callers into batches for a few workers; knows nothing of images."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from extractor.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ran(Generic[R]):
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


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    item: T
    wanted: Callable[[], bool]
    future: Future[Ran[R]]
    entered: float = field(default_factory=time.monotonic)

    def start(self) -> bool:
        """Whether the item is to be run: nobody cancelled it, and its caller is still there."""
        if not self.wanted():
            self.future.cancel()
        return self.future.set_running_or_notify_cancel()


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
        self._queue: SimpleQueue[_Entry[T, R] | None] = SimpleQueue()
        self._closed = False
        self._door = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T, wanted: Callable[[], bool] = lambda: True) -> Future[Ran[R]]:
        """Queue one item.

        Parameters
        ----------
        item : object
        wanted : callable
            Asked when the item's turn comes; when it says no, the item is not
            run and its future is cancelled.

        Raises
        ------
        Unavailable
            After `close`.
        """
        entry: _Entry[T, R] = _Entry(item, wanted, Future())
        with self._door:  # nothing may enter the queue behind the workers' end marks
            if self._closed:
                raise Unavailable("the embedder is closed")
            self._queue.put(entry)
        return entry.future

    @property
    def alive(self) -> bool:
        """Whether every worker is there to take the next batch."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Finish what was submitted, then end the workers."""
        with self._door:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        last = False
        while not last and (first := self._queue.get()) is not None:
            batch, last = self._fill(first)
            live = [entry for entry in batch if entry.start()]
            if live:
                self._answer(live)

    def _fill(self, first: _Entry[T, R]) -> tuple[list[_Entry[T, R]], bool]:
        """A batch that begins with `first`, and whether the end mark came behind it."""
        batch = [first]
        latest = first.entered + self._max_delay
        while len(batch) < self._max_batch:
            try:
                entry = self._queue.get(timeout=max(0.0, latest - time.monotonic()))
            except Empty:
                break
            if entry is None:
                return batch, True
            batch.append(entry)
        return batch, False

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
            entry.future.set_result(Ran(output, begun - entry.entered, seconds, len(batch)))

    def _blame(self, batch: list[_Entry[T, R]], error: BaseException) -> None:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
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

    def submit(self, item: T, wanted: Callable[[], bool] = lambda: True) -> Future[Ran[R]]:
        """Run one item; parameters as for `Batcher.submit`. The future is done."""
        future: Future[Ran[R]] = Future()
        if not wanted():
            future.cancel()
            return future
        begun = time.monotonic()
        try:
            (output,) = self._run([item])
            future.set_result(Ran(output, 0.0, time.monotonic() - begun, 1))
        except BaseException as error:  # noqa: BLE001 - as in Batcher: an item's failure is its own
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing runs but in `submit`."""
