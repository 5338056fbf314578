"""Threads that work items off, first come first served, urgent ones before all others."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
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
    at_once : int
        Items that are under way at once, urgent ones apart.
    name : str
        The threads', before their number.
    spare : int
        Threads beyond that, so that urgent items need not wait for others.
    """

    def __init__(self, work: Callable[[T], object], at_once: int, name: str, *, spare: int = 0) -> None:
        self._work = work
        self._name = name
        self._spare = spare
        self._room = at_once  # how many more that are not urgent may be under way
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()
        self._marks: SimpleQueue[bool] = (
            SimpleQueue()
        )  # True for each item but the owed; False for a thread's end
        self._owed = 0  # items without a mark: whoever is done with another does them
        self._closed = False
        self._door = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(at_once + spare)

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
            self._enter(item, urgent=urgent)

    def share(self, items: Sequence[T]) -> None:
        """Queue items; but do the first in this thread where there is room for it, and all after `close`."""
        with self._door:
            here = len(items) if self._closed else min(len(items), max(self._room, 0), 1)
            self._room -= bool(here)
            for item in items[here:]:
                self._enter(item)
        for item in items[:here]:
            self._attempt(item)
        if here:
            self._hand_on()

    def grow(self, at_once: int) -> None:
        """Let so many items be under way at once, where fewer may."""
        with self._door:
            more = at_once + self._spare - len(self._threads)
            if more > 0 and not self._closed:
                self._start(more)
                self._room += more
                for _ in range(min(more, self._owed)):
                    self._owed -= 1
                    self._marks.put(True)

    def take(self, timeout: float) -> T:
        """One more item, for a thread that does several at a time; where no threads are spare.

        Raises
        ------
        queue.Empty
            When none comes within `timeout` seconds.
        """
        if self._marks.get(timeout=timeout):
            with self._door:
                return (self._urgent or self._others).popleft()
        self._marks.put(False)  # not ours to take: a thread ends by it
        raise Empty

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

    def _start(self, threads: int) -> None:
        for number in range(len(self._threads), len(self._threads) + threads):
            self._threads.append(
                threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
            )
            self._threads[-1].start()

    def _enter(self, item: T, *, urgent: bool = False) -> None:
        """Queue, with the door held; a thread is woken unless it would find no room."""
        (self._urgent if urgent else self._others).append(item)
        if urgent or self._room > 0 or not self._spare:
            self._marks.put(True)
        else:
            self._owed += 1

    def _run(self) -> None:
        while self._marks.get():
            urgent, due = self._turn()
            while due:
                self._attempt(due.pop())  # here it is last in memory
                if not urgent:
                    due = self._due()

    def _turn(self) -> tuple[bool, list[T]]:
        """The item of a mark that was taken, whosever it was; it is owed where there is no room for it."""
        with self._door:
            if self._urgent:
                return True, [self._urgent.popleft()]
            if self._room > 0:
                self._room -= 1
                return False, [self._others.popleft()]
            self._owed += 1
            return False, []

    def _due(self) -> list[T]:
        """One that is owed; else there is room for one more."""
        with self._door:
            if self._owed:
                self._owed -= 1
                return [self._others.popleft()]
            self._room += 1
            return []

    def _hand_on(self) -> None:
        """Let another thread go on with what is owed, unless threads end now."""
        with self._door:
            if not self._closed:
                self._room += 1
                if self._owed:
                    self._owed -= 1
                    self._marks.put(True)
                return
        while due := self._due():
            self._attempt(due.pop())

    def _attempt(self, item: T) -> None:
        try:
            self._work(item)
        except Exception:
            log.exception("a thread met a fault of our own, and goes on")
