"""Who waits for an image, and what an embedder has to do and has done."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from extractor.errors import DeadlineExceeded
from extractor.results import ImageLike, Result, Timings

NO_TIME = Timings()
"""Of an image that met nothing."""

_SILENCE = 60.0
"""Seconds between two complaints of the same kind."""


@dataclass(frozen=True, slots=True)
class Load:
    """What an embedder has to do, and has done.

    Attributes
    ----------
    items, bytes : int
        Images that are accepted and not answered, and their bytes.
    oldest : float
        Seconds since the oldest of them was accepted.
    computed : int
        Images that went through the network.
    failed : int
        Images that the network failed with.
    dropped : int
        Images that nobody waited for any more when their turn came.
    refused : int
        Images that were too many, or would have been answered too late.
    hits, misses : int
        Vectors that were asked for and remembered, and those that were not.
    cache_failures : int
        Reads and writes of the cache that failed; the images are computed again.
    last_inference : float
        When the network last answered, by `time.monotonic`; minus infinity before it did.
    alive : bool
        Whether every thread that runs the network is there.
    """

    items: int
    bytes: int
    oldest: float
    computed: int
    failed: int
    dropped: int
    refused: int
    hits: int
    misses: int
    cache_failures: int
    last_inference: float
    alive: bool


class Ticket(Future[Result]):
    """One caller who waits for one image: the future of its result.

    Parameters
    ----------
    image : bytes, path or PIL image
    deadline : float
        When the answer is of no use any more, by `time.monotonic`.

    Attributes
    ----------
    image : bytes, path or PIL image, or None
        Let go of when it is answered or its caller has gone.
    size : int
        The image's bytes; 0 for what has to be read yet.
    accepted : float
        When, by `time.monotonic`.
    answered : bool
        Whether the image was dealt with, not dropped.
    """

    def __init__(self, image: ImageLike, deadline: float) -> None:
        super().__init__()
        self.image: ImageLike | None = image
        self.size = len(image) if isinstance(image, bytes | bytearray) else 0
        self.deadline = deadline
        self.accepted = time.monotonic()
        self.answered = False

    def waits(self) -> bool:
        """Whether the answer would still be of use."""
        return not self.cancelled() and time.monotonic() < self.deadline

    def settle(self, result: Result, timings: Timings = NO_TIME) -> None:
        """Answer, unless the caller has gone; the total time is added."""
        if self.set_running_or_notify_cancel():
            self.answered = not isinstance(result.error, DeadlineExceeded)
            timings = timings._replace(total=time.monotonic() - self.accepted)
            self.set_result(result.timed(timings))

    def fail(self, error: BaseException) -> None:
        """Answer that no image can be embedded."""
        if self.set_running_or_notify_cancel():
            self.set_exception(error)


class Counters:
    """What has been done since the start."""

    def __init__(self) -> None:
        self.computed = self.failed = self.dropped = self.hits = self.misses = 0
        self.cache_failures = 0
        self.last_inference = -math.inf
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def compute(self) -> None:
        """One more image went through the network."""
        with self._lock:
            self.computed += 1
            self.last_inference = time.monotonic()

    def fail(self) -> None:
        """One more image that the network failed with."""
        with self._lock:
            self.failed += 1

    def drop(self) -> None:
        """One more caller had gone, or was too late."""
        with self._lock:
            self.dropped += 1

    def fail_cache(self, why: str) -> bool:
        """The cache failed once more; whether that is to be said, as it is for each reason once a minute."""
        with self._lock:
            self.cache_failures += 1
            now = time.monotonic()
            if now - self._said.get(why, -math.inf) < _SILENCE:
                return False
            self._said[why] = now
            return True

    def recall(self, *, hits: int, of: int) -> None:
        """So many vectors were asked for, and so many of them remembered."""
        with self._lock:
            self.hits += hits
            self.misses += of - hits
