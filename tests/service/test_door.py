"""The door bounds the bytes of requests before they are received."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from extractor import errors
from extractor.door import Door


class Sender:
    """A caller whose message comes when the test says so."""

    def __init__(self) -> None:
        self.message: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def read(self) -> Any:
        return await self.message


async def test_room_that_is_only_kept_is_waited_for() -> None:
    """A call that said too much hinders others no longer than until its message is here."""
    door, slow, quick = Door(100, patience=0.2), Sender(), Sender()
    first = asyncio.ensure_future(door.receive(slow, 100))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(door.receive(quick, 50))
    slow.message.set_result(bytes(10))
    quick.message.set_result(bytes(50))
    assert [len(await first), len(await second)] == [10, 50]


async def test_room_that_is_kept_for_long_is_a_full_server() -> None:
    """A caller that never sends holds others up for a moment; when it leaves, its room is free."""
    door, never, quick = Door(100, patience=0.2), Sender(), Sender()
    quick.message.set_result(bytes(50))
    first = asyncio.ensure_future(door.receive(never, 100))
    await asyncio.sleep(0)
    with pytest.raises(errors.Overloaded):
        await door.receive(quick, 50)
    first.cancel()
    await asyncio.wait([first])
    assert len(await door.receive(quick, 50)) == 50


async def test_a_message_larger_than_the_room_comes_in_alone() -> None:
    """Or it could never be answered."""
    door, sender = Door(100, patience=0.2), Sender()
    sender.message.set_result(bytes(200))
    assert len(await door.receive(sender, 200)) == 200
    with pytest.raises(errors.Overloaded):
        await door.receive(sender, 1)
    door.release(200)
    assert len(await door.receive(sender, 1)) == 200


async def test_what_was_larger_than_said_is_sent_away() -> None:
    """Where there is no room for it beside the others."""
    door, first, liar = Door(100, patience=0.2), Sender(), Sender()
    first.message.set_result(bytes(80))
    liar.message.set_result(bytes(50))
    await door.receive(first, 80)
    with pytest.raises(errors.Overloaded):
        await door.receive(liar, 10)
    assert door.taken == 80


async def test_who_sends_nothing_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its room lapses; when its message comes after all, it has to find room like any other."""
    monkeypatch.setattr("extractor.door.KEPT", 0.01)
    door, silent, quick = Door(100, patience=60), Sender(), Sender()
    quick.message.set_result(bytes(80))
    late = asyncio.ensure_future(door.receive(silent, 100))
    await asyncio.sleep(0)
    assert len(await door.receive(quick, 80)) == 80
    silent.message.set_result(bytes(90))
    with pytest.raises(errors.Overloaded):
        await late
    assert door.taken == 80


async def test_what_needs_no_room_is_always_received() -> None:
    """Questions of a few bytes are answered when the memory is full."""
    door, large, small = Door(100, patience=0.01), Sender(), Sender()
    large.message.set_result(bytes(100))
    await door.receive(large, 100)
    small.message.set_result(b"")
    assert await door.receive(small, 0) == b""
