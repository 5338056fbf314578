"""What is under way: how much may be, and which images are the same."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Generic, TypeVar

from extractor.errors import Overloaded

R = TypeVar("R")


class Admission:
    """Counts items and bytes that are under way, and refuses what is too much."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items = self._bytes = 0
        self._changed = threading.Condition()

    def enter(self, size: int, *, patient: bool = False) -> None:
        """Count one item of `size` bytes in.

        Parameters
        ----------
        size : int
        patient : bool
            Wait for room instead of raising.

        Raises
        ------
        Overloaded
            When there are too many already. A single item is always let in,
            or one over the limit on bytes could never be answered.
        """
        with self._changed:
            if patient:
                self._changed.wait_for(lambda: self._has_room(size))
            if not self._has_room(size):
                raise Overloaded(
                    f"{self._items} images with {self._bytes:,} bytes are pending (at most "
                    f"{self._max_items} and {self._max_bytes:,}): try again in a second"
                )
            self._items += 1
            self._bytes += size

    def leave(self, size: int) -> None:
        """Count one item out."""
        with self._changed:
            self._items -= 1
            self._bytes -= size
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        fits = self._items < self._max_items and self._bytes + size <= self._max_bytes
        return fits or not self._items


class Flights(Generic[R]):
    """Work under way by key, so that what several callers want is done once.

    A flight ends by `land`, or by `wanted` when nobody waits for it any more;
    whoever comes later begins another.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Future[R]]] = {}
        self._lock = threading.Lock()

    def board(self, key: bytes, future: Future[R]) -> bool:
        """Let `future` wait for `key`; True when its caller is the first and has to do the work."""
        with self._lock:
            waiting = self._waiting.setdefault(key, [])
            waiting.append(future)
            return len(waiting) == 1

    def wanted(self, key: bytes) -> bool:
        """Whether anybody still waits."""
        with self._lock:
            if all(future.cancelled() for future in self._waiting[key]):
                del self._waiting[key]
                return False
            return True

    def land(self, key: bytes) -> list[Future[R]]:
        """Those who waited; the flight is over."""
        with self._lock:
            return self._waiting.pop(key)
