"""The door: however calls come, send and leave, its bounds hold and its room comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import atheris

with atheris.instrument_imports():
    from extractor.door import Door
    from extractor.errors import Overloaded

from fuzz.engine import run

LIMIT = 100


class Caller:
    """A call that waits for its message, until it is sent or the caller leaves."""

    def __init__(self, door: Door, room: int) -> None:
        self._message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._door = door
        self.here = 0
        self._receiving = asyncio.create_task(self._receive(room))

    async def read(self) -> bytes:
        return await self._message

    async def _receive(self, room: int) -> None:
        with suppress(Overloaded):
            message = await self._door.receive(self, room)
            self.here = len(message or b"")

    def send(self, size: int) -> None:
        if not self._message.done():
            self._message.set_result(bytes(size))

    async def leave(self) -> None:
        """At whatever it is; what it had brought is released, as by the call that was answered."""
        self._receiving.cancel()
        await asyncio.wait([self._receiving])
        self._door.release(self.here)
        self.here = 0


async def play(moves: bytes) -> None:
    """Three bytes are a move: what, who, how much."""
    door, callers = Door(LIMIT, patience=0.0001), list[Caller]()
    for what, who, size in zip(moves[::3], moves[1::3], moves[2::3], strict=False):
        if what % 4 == 0:
            callers.append(Caller(door, size))
        elif callers and what % 4 == 1:
            callers[who % len(callers)].send(size)
        elif callers and what % 4 == 2:
            await callers.pop(who % len(callers)).leave()
        await asyncio.sleep(0)
        inside = [caller.here for caller in callers if caller.here]
        assert sum(inside) <= door.taken
        assert sum(inside) <= LIMIT or len(inside) == 1, "more came in than there was room for"
    for caller in callers:
        await caller.leave()
    assert door.taken == 0, "room was lost"


def main(data: bytes) -> None:
    asyncio.run(play(data[:300]))


if __name__ == "__main__":
    run("door", main, [b"\0\0\x40\1\0\x40\2\0\0", b"\0\0\xff\0\0\1\1\0\x20\1\1\x20"])
