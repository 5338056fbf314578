"""Threads that work items off, first come first served, urgent ones before all others."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from extractor.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Pool(Generic[T]):
    """A queue, and threads that take from it; nothing that was put there is lost.

    Unlike an executor of the standard library it makes no future of an item:
    what becomes of it is the item's own affair.

    Parameters
    ----------
    work : callable
        Does one item, in one of the threads. What it raises is logged; the
        thread lives on.
    threads : int
    name : str
        The threads', before their number.
    """

    def __init__(self, work: Callable[[T], object], threads: int, name: str) -> None:
        self._work = work
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()
        self._marks: SimpleQueue[bool] = SimpleQueue()  # True for each item; False for each thread's end
        self._closed = False
        self._door = threading.Lock()
        self._name = name
        self._threads: list[threading.Thread] = []
        self.grow(threads)

    def grow(self, threads: int) -> None:
        """Have so many threads, where there are fewer."""
        with self._door:
            while len(self._threads) < threads and not self._closed:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def put(self, item: T, *, urgent: bool = False) -> None:
        """Queue one item.

        Raises
        ------
        Unavailable
            After `close`.
        """
        with self._door:  # nothing may enter the queue behind the end marks
            if self._closed:
                raise Unavailable("the embedder is closed")
            (self._urgent if urgent else self._others).append(item)
            self._marks.put(True)

    def take(self, timeout: float) -> T:
        """One more item, for a thread that does several at a time.

        Raises
        ------
        queue.Empty
            When none comes within `timeout` seconds.
        """
        if self._marks.get(timeout=timeout):
            return self._next()
        self._marks.put(False)  # not ours to take: a thread ends by it
        raise Empty

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._urgent) + len(self._others)

    @property
    def alive(self) -> bool:
        """Whether every thread is there."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._door:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._marks.put(False)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while self._marks.get():
            try:
                self._work(self._next())
            except Exception:
                log.exception("a thread met a fault of our own, and goes on")

    def _next(self) -> T:
        """The item of a mark that was taken: there is one, whosever it was."""
        try:
            return self._urgent.popleft()
        except IndexError:
            return self._others.popleft()
