"""When a request is tried again, and until when: one policy for both clients."""

from __future__ import annotations

import time

import grpc

from extractor import wire
from extractor.client import failures
from extractor.errors import InvalidArgument

LONGEST = 365 * 24 * 3600.0
"""Seconds; gRPC takes times that are much longer for times that are over."""


class Patience:
    """What one request has of it.

    Parameters
    ----------
    seconds : float
        How long an answer is waited for.
    each : float
        How long one try may take, where that is less.
    again : float
        How long the request is tried again, where that is less.
    """

    def __init__(self, seconds: float, *, each: float = LONGEST, again: float = LONGEST) -> None:
        self._begun = now = time.monotonic()
        self._end = now + seconds
        self._each = each
        self._last_try = now + min(seconds, again)
        self._tries = 0

    def for_try(self) -> float:
        """Seconds for a try that begins now."""
        self._begun = time.monotonic()
        return min(self._end - self._begun, self._each)

    def waited(self) -> float:
        """Seconds since the last try began."""
        return time.monotonic() - self._begun

    def pause(self, failure: grpc.RpcError) -> float | None:
        """Seconds for which whoever failed is to be left alone; None when no other try will do better."""
        if failures.is_lasting(failure):
            return None
        pause = wire.pause(failure, self._tries)
        self._tries += 1
        return pause

    def allows(self, pause: float) -> bool:
        """Whether there is time for another try after so many seconds."""
        return time.monotonic() + pause < self._last_try


def checked(timeout: float) -> float:
    """`timeout`, or `LONGEST`; raise InvalidArgument when it is not more than 0 seconds."""
    if not timeout > 0:
        raise InvalidArgument(f"timeout is {timeout}, and has to be more than 0 seconds")
    return min(timeout, LONGEST)
