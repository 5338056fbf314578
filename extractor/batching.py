"""Joins items of many callers into batches for a few workers; knows nothing of images."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from extractor.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    item: T
    wanted: Callable[[], bool]
    future: Future[R]

    def start(self) -> bool:
        """Whether the item is to be run: nobody cancelled it, and its caller is still there."""
        if not self.wanted():
            self.future.cancel()
        return self.future.set_running_or_notify_cancel()


class Batcher(Generic[T, R]):
    """Runs `run` on batches of what was submitted, in `workers` threads.

    Greedy: a free worker takes what is there, up to `max_batch`, and never
    waits for more. A batch that fails is retried by halves until the culprit
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
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R]], *, max_batch: int, workers: int) -> None:
        self._run = run
        self._max_batch = max_batch
        self._queue: SimpleQueue[_Entry[T, R] | None] = SimpleQueue()
        self._closed = False
        self._door = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T, wanted: Callable[[], bool] = lambda: True) -> Future[R]:
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
        while len(batch) < self._max_batch:
            try:
                entry = self._queue.get_nowait()
            except Empty:
                break
            if entry is None:
                return batch, True
            batch.append(entry)
        return batch, False

    def _answer(self, batch: list[_Entry[T, R]]) -> None:
        try:
            outputs = self._run([entry.item for entry in batch])
            answered = list(zip(batch, outputs, strict=True))
        except Exception as error:  # noqa: BLE001 - the loop outlives whatever the runtime does
            self._blame(batch, error)
            return
        for entry, output in answered:
            entry.future.set_result(output)

    def _blame(self, batch: list[_Entry[T, R]], error: Exception) -> None:
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

    def submit(self, item: T, wanted: Callable[[], bool] = lambda: True) -> Future[R]:
        """Run one item; parameters as for `Batcher.submit`. The future is done."""
        future: Future[R] = Future()
        if not wanted():
            future.cancel()
            return future
        try:
            (output,) = self._run([item])
            future.set_result(output)
        except Exception as error:  # noqa: BLE001 - as in Batcher: an item's failure is its own
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing runs but in `submit`."""
