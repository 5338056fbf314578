"""Bounds the bytes of all requests in memory, before they are received."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc

from extractor.errors import Overloaded

KEPT = 1.0
"""Seconds that room is kept for a message that is being received: who sends nothing locks nobody out."""


class Door:
    """What every message of every call passes.

    gRPC holds a message back until it is asked for. So each call has to say
    how much room it needs, and is refused at once when that is taken. What is
    larger than was said, or comes late, has to find room once it is here.

    Parameters
    ----------
    limit : int
        Bytes of messages that may be in memory at once, with what those being
        received were expected to have.
    patience : float
        Seconds that a call waits for others to be received before it is refused.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit, self._patience = limit, patience
        self._coming = self._here = 0
        self._changed = asyncio.Event()

    @property
    def taken(self) -> int:
        """Bytes that are in memory or expected."""
        return self._here + self._coming

    async def receive(self, context: Any, room: int) -> bytes | None:
        """The call's next message, for which there is `room`; None when there are no more.

        It counts until `release`.

        Raises
        ------
        Overloaded
            When there is no room, or the message is larger than was said and
            does not fit.
        """
        await self._wait_for(room)
        loop = asyncio.get_running_loop()
        self._coming += room
        lapse = loop.call_later(KEPT, self._leave, room)
        try:
            message = await context.read()
        finally:
            if kept := lapse.when() > loop.time():
                lapse.cancel()
                self._leave(room)
        if message is grpc.aio.EOF:
            return None
        if len(message) > room or not kept:
            self._check(len(message))
        self._here += len(message)
        return message  # type: ignore[no-any-return]

    def _leave(self, room: int) -> None:
        self._coming -= room
        self._changed.set()

    def release(self, size: int) -> None:
        """The message of `size` bytes has been answered."""
        self._here -= size
        self._changed.set()

    async def _wait_for(self, room: int) -> None:
        """Wait a moment where others only said what they need: that is often too much, and soon known."""
        if not room or self.taken + room <= self._limit:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._coming and self._here + room <= self._limit < self.taken + room:
                    self._changed.clear()
                    await self._changed.wait()
        self._check(room)

    def _check(self, room: int) -> None:
        if self.taken and self.taken + room > self._limit:
            raise Overloaded(f"requests of {self.taken:,} bytes are under way (at most {self._limit:,})")
