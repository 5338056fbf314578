"""The load's own gRPC calls do what gRPC's client does, before a server of gRPC's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest

from benchmarks.callers import Failed, GrpcCaller, Refused, Target
from benchmarks.http2 import DEADLINE_EXCEEDED, Connection, framed, request_head

PHOTO = bytes(range(256)) * 400


left: list[str] = []
"""The callers who left before they were answered."""


async def _refuse(_requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Before anything is received."""
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "come again: 100 % of it is taken " + "." * 200)
    return b""


async def _answer(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """The request itself; one that is slow takes a minute."""
    try:
        (request,) = [request async for request in requests]
        await asyncio.sleep(60 if request.startswith(b"slow") else 0)
    except asyncio.CancelledError:
        left.append(context.peer())
        raise
    return request


def with_server(work: Callable[[grpc.aio.Server, str], Coroutine[Any, Any, None]]) -> None:
    """Do something with a server at an address, which has gRPC's own small windows."""

    async def run() -> None:
        server = grpc.aio.server()
        handlers = {
            "Call": grpc.stream_unary_rpc_method_handler(_answer),
            "Full": grpc.stream_unary_rpc_method_handler(_refuse),
        }
        server.add_registered_method_handlers("test.Echo", handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await work(server, f"127.0.0.1:{port}")
        finally:
            await server.stop(0)

    asyncio.run(run())


async def connected(address: str) -> Connection:
    host, port = address.split(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    return connection


def test_messages_larger_than_the_windows_arrive_whole() -> None:
    """Sixteen at a time, of a megabyte each, on one connection; and when frames come in bytes."""

    async def work(_server: grpc.aio.Server, address: str) -> None:
        connection = await connected(address)
        head = request_head(address, "/test.Echo/Call")
        messages = [bytes([number]) * 2**20 for number in range(16)]
        answers = await asyncio.gather(*(connection.ask(head, framed(each), 30) for each in messages))
        assert [answer.body for answer in answers] == messages
        receive = connection.data_received
        connection.data_received = lambda data: [receive(bytes([each])) for each in data]  # type: ignore[assignment,func-returns-value,method-assign]
        assert (await connection.ask(head, framed(PHOTO[:5000]), 30)).body == PHOTO[:5000]
        connection.close()

    with_server(work)


def test_a_failed_call_says_its_status_and_the_next_goes_on() -> None:
    """Refused before it was sent, too late, unknown: each ends alone, and the windows are whole again."""

    async def work(_server: grpc.aio.Server, address: str) -> None:
        connection = await connected(address)
        for _ in range(4):
            refused = await connection.ask(request_head(address, "/test.Echo/Full"), framed(bytes(2**20)), 5)
            assert re.search(r"come again: 100 % of it is taken \.{200}$", str(refused))
            assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        head = request_head(address, "/test.Echo/Call")
        assert (await connection.ask(head, framed(b"slow"), 0.2)).code == DEADLINE_EXCEEDED
        assert (await connection.ask(head, framed(PHOTO), None)).body == PHOTO
        unknown = await connection.ask(request_head(address, "/test.Echo/Other"), framed(b""), 5)
        assert unknown.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
        connection.close()

    with_server(work)


def test_the_server_learns_that_a_caller_left() -> None:
    """Though the call had no deadline."""

    async def work(_server: grpc.aio.Server, address: str) -> None:
        connection = await connected(address)
        head = request_head(address, "/test.Echo/Call")
        left.clear()
        asking = asyncio.create_task(connection.ask(head, framed(b"slow"), None))
        assert (await connection.ask(head, framed(PHOTO), None)).body == PHOTO
        assert not left
        asking.cancel()
        async with asyncio.timeout(30):
            while not left:
                await asyncio.sleep(0.01)
        connection.close()

    with_server(work)


def test_a_server_that_goes_fails_calls_and_takes_no_more() -> None:
    """Those under way, and later ones, which are told at once."""

    async def work(server: grpc.aio.Server, address: str) -> None:
        connection = await connected(address)
        head = request_head(address, "/test.Echo/Call")
        asking = asyncio.create_task(connection.ask(head, framed(b"slow"), None))
        assert (await connection.ask(head, framed(PHOTO), None)).body == PHOTO
        await server.stop(0)
        assert (await asking).code != 0
        async with asyncio.timeout(30):
            while not connection.gone:
                await asyncio.sleep(0.01)
        assert re.search(
            r"connection is lost|goes away", str(await connection.ask(head, framed(PHOTO), None))
        )
        connection.close()

    with_server(work)


def test_a_caller_connects_again() -> None:
    """As gRPC's does; what is refused is told apart from what failed."""

    async def work(_server: grpc.aio.Server, address: str) -> None:
        caller = GrpcCaller(Target("grpc", address, "/test.Echo/Call"), [PHOTO], 1)
        assert await caller.call(0, 5) == PHOTO
        (connecting,) = caller._connections
        assert connecting
        connecting.result().close()
        await asyncio.sleep(0)
        assert await caller.call(0, 5) == PHOTO
        await caller.close()
        full = GrpcCaller(Target("grpc", address, "/test.Echo/Full"), [PHOTO], 1)
        with pytest.raises(Refused, match="come again"):
            await full.call(0, 5)
        await full.close()
        nobody = GrpcCaller(Target("grpc", "127.0.0.1:1", "/test.Echo/Call"), [PHOTO], 1)
        for _ in range(2):
            with pytest.raises(Failed):
                await nobody.call(0, 5)

    with_server(work)
