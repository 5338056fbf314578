"""What is under way: how much may be, how fast it moves, and which images are the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from extractor.errors import Overloaded

_SMOOTHING = 0.05
"""Weight of the newest image in the pace: some twenty count."""

_PATIENCE = 0.5
"""The part of a caller's time that may be spent waiting: how long that takes is an estimate."""

_LONGEST_PAUSE = 5.0
"""Seconds after which a refused caller is asked to come again, at most."""


class Entrant(Protocol):
    """Something that is let in, and out once.

    Attributes
    ----------
    size : int
        In bytes.
    accepted : float
        When it was let in, by `time.monotonic`.
    """

    @property
    def size(self) -> int: ...  # noqa: D102

    accepted: float


class Admission:
    """Counts items and bytes that are under way, and refuses what is too much or would come too late.

    Parameters
    ----------
    max_items, max_bytes : int
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._inside: dict[Entrant, None] = {}  # oldest first
        self._bytes = 0
        self._changed = threading.Condition()
        self._last: float | None = None
        self.pace = 0.0
        self.refused = 0

    @property
    def items(self) -> int:
        """Items that are under way."""
        return len(self._inside)

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return self._bytes

    def oldest(self) -> float:
        """Seconds since the oldest of them was let in; 0 when there is none."""
        with self._changed:
            oldest = next(iter(self._inside), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.accepted

    def enter(self, items: Sequence[Entrant], deadline: float, *, patient: bool = False) -> None:
        """Let items in, all or none.

        Parameters
        ----------
        items : sequence of Entrant
            Their `accepted` is set.
        deadline : float
            When their answers are of no use any more, by `time.monotonic`.
        patient : bool
            Wait for room instead of raising.

        Raises
        ------
        Overloaded
            When there are too many already, or so many that the turn of these
            might come after the deadline. Where nothing is under way they are
            always let in, or what is over a limit could never be answered.
        """
        size = sum(item.size for item in items)
        with self._changed:
            if patient:
                self._changed.wait_for(lambda: self._has_room(len(items), size))
            self._check(len(items), size, deadline)
            if not self._inside:
                self._last = None
            now = time.monotonic()
            for item in items:
                item.accepted = now
                self._inside[item] = None
            self._bytes += size

    def leave(self, item: Entrant, *, answered: bool) -> None:
        """Let an item out; one that was answered, not dropped, tells how fast they move.

        Only the time since the last answer counts, and only where there was
        something to do all the time: how long a lone item takes says nothing
        of how many are done at once.
        """
        with self._changed:
            del self._inside[item]
            self._bytes -= item.size
            if answered:
                now = time.monotonic()
                if self._last is not None:
                    self.pace += _SMOOTHING * (now - self._last - self.pace)
                self._last = now
            self._changed.notify_all()

    def check(self, deadline: float, ahead: int) -> None:
        """Raise Overloaded when `enter` would, whatever the item, once `ahead` others are in.

        As there, whatever comes is let in where nothing is under way.
        """
        with self._changed:
            self._check(1, 0, deadline, ahead)

    def _check(self, count: int, size: int, deadline: float, ahead: int = 0) -> None:
        inside = len(self._inside) + ahead
        wait = inside * self.pace
        if not self._has_room(count + ahead, size):
            self.refused += count
            raise Overloaded(
                f"{inside} images with {self._bytes:,} bytes are pending (at most "
                f"{self._max_items} and {self._max_bytes:,}): try again in a second"
            )
        if self._inside and wait > _PATIENCE * (deadline - time.monotonic()):
            self.refused += count
            about = max(0.1, round(wait, 1))  # so that many are refused in the same words, which are kept
            raise Overloaded(
                f"{inside} images are pending, which takes about {about:.1f} s, more than "
                "half of what the caller allows: try again later, or allow a longer deadline",
                min(about, _LONGEST_PAUSE),
            )

    def _has_room(self, count: int, size: int) -> bool:
        fits = len(self._inside) + count <= self._max_items and self._bytes + size <= self._max_bytes
        return fits or not self._inside


class Waits(Protocol):
    """Somebody who waits for an answer."""

    def waits(self) -> bool:
        """Whether the answer would still be of use."""
        ...


W = TypeVar("W", bound=Waits)


class Flights(Generic[W]):
    """Work under way by key, so that what several callers want is done once.

    A flight ends by `land`, or when nobody waits for it any more; whoever
    comes later begins another.

    Parameters
    ----------
    drop : callable
        Is called with those whose flight ended since none of them waits.
    """

    def __init__(self, drop: Callable[[Sequence[W]], object]) -> None:
        self._drop = drop
        self._waiting: dict[bytes, list[W]] = {}
        self._lock = threading.Lock()

    def board(self, key: bytes, who: W) -> bool:
        """Let `who` wait for `key`; True when it is the first and has to see to the work."""
        with self._lock:
            waiting = self._waiting.setdefault(key, [])
            waiting.append(who)
            return len(waiting) == 1

    def first(self, key: bytes) -> W | None:
        """One who still waits for `key`; None when nobody does, which ends the flight."""
        with self._lock:
            who = next((who for who in self._waiting[key] if who.waits()), None)
            gone = self._waiting.pop(key) if who is None else []
        if gone:
            self._drop(gone)
        return who

    def land(self, key: bytes) -> list[W]:
        """Those who waited; the flight is over."""
        with self._lock:
            return self._waiting.pop(key)
