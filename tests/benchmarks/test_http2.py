"""The load's own gRPC calls do what gRPC's client does, before a server of gRPC's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest

from benchmarks.callers import GrpcCaller, Refused, Target
from benchmarks.http2 import Connection, Status, framed, request_head

PHOTO = bytes(range(256)) * 400


async def _answer(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """The request itself; what begins with a letter is refused, or takes too long."""
    (request,) = [request async for request in requests]
    if request.startswith(b"full"):
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "come again", (("more", "of it"),))
    if request.startswith(b"slow"):
        await asyncio.sleep(60)
    return request


def with_server(work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Do something with the address of a server, which has gRPC's own small windows."""

    async def run() -> None:
        server = grpc.aio.server()
        handler = grpc.stream_unary_rpc_method_handler(_answer)
        server.add_registered_method_handlers("test.Echo", {"Call": handler})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await work(f"127.0.0.1:{port}")
        finally:
            await server.stop(0)

    asyncio.run(run())


def test_messages_larger_than_the_windows_arrive_whole() -> None:
    """Sixteen at a time, of a megabyte each, on one connection."""

    async def work(address: str) -> None:
        host, port = address.split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
        head = request_head(address, "/test.Echo/Call")
        messages = [bytes([number]) * 2**20 for number in range(16)]
        answers = await asyncio.gather(*(connection.ask(head, framed(each), 30) for each in messages))
        assert answers == messages
        connection.close()

    with_server(work)


def test_a_failed_call_says_its_status_and_the_next_goes_on() -> None:
    """Refused, too late, unknown: each ends alone."""

    async def work(address: str) -> None:
        caller = GrpcCaller(Target("grpc", address, "/test.Echo/Call"), [b"full", b"slow", PHOTO], 1)
        slow = asyncio.create_task(caller.call(1, 0.2))
        with pytest.raises(Refused, match="come again"):
            await caller.call(0, 5)
        assert await caller.call(2, 5) == PHOTO
        with pytest.raises(TimeoutError):
            await slow
        assert await caller.call(2, None) == PHOTO
        await caller.close()
        host, port = address.split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
        with pytest.raises(Status) as failure:
            await connection.ask(request_head(address, "/test.Echo/Other"), framed(b""), 5)
        assert failure.value.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
        connection.close()

    with_server(work)


def test_a_server_that_goes_fails_the_calls_under_way() -> None:
    async def work(address: str) -> None:
        host, port = address.split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
        asking = asyncio.create_task(
            connection.ask(request_head(address, "/test.Echo/Call"), framed(b"slow"), None)
        )
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(Status, match="lost"):
            await asking

    with_server(work)
