"""Streams of requests over a stand-in for the embedder: order, flow control, failures, callers that leave."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import grpc

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.calls import MESSAGES_UNDER_WAY
from extractor.results import Result
from extractor.server import Server
from extractor.wire import unpack_results
from tests.service.conftest import failure, submitted


async def test_a_stream_is_answered_message_by_message_in_order(stub: Any, stand_in: Any) -> None:
    """Each message as a call of its own; what is wrong with an image is in its result."""
    stand_in.on_submit = lambda image, future: None
    stream = stub.EmbedStream()
    await stream.write(pb.EmbedRequest(images=[b"1", b"2"]))
    await stream.write(pb.EmbedRequest(images=[b"3"]))
    await submitted(stand_in, 3)
    for value, future in reversed(list(enumerate(stand_in.submitted))):
        stand_in.settle(future, value)
    first, second = await stream.read(), await stream.read()
    await stream.done_writing()
    assert [result.embedding[0] for result in unpack_results(first, 2)] == [0, 1]
    assert [result.embedding[0] for result in unpack_results(second, 1)] == [2]
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_reads_on_only_while_few_are_unanswered(stub: Any, stand_in: Any) -> None:
    """The rest stays with the caller until answers are made."""
    stand_in.on_submit = lambda image, future: None
    stream = stub.EmbedStream()

    async def send() -> None:
        for _ in range(3 * MESSAGES_UNDER_WAY):
            await stream.write(pb.EmbedRequest(images=[b"x"]))
        await stream.done_writing()

    sending = asyncio.ensure_future(send())
    await submitted(stand_in, MESSAGES_UNDER_WAY)
    await stub.Lookup(pb.LookupRequest())  # the event loop has had its turns
    assert len(stand_in.submitted) == MESSAGES_UNDER_WAY
    stand_in.on_submit = lambda image, future: stand_in.settle(future, 1)
    for future in list(stand_in.submitted):
        stand_in.settle(future, 1)
    assert len([answer async for answer in stream]) == 3 * MESSAGES_UNDER_WAY
    await sending


async def test_a_full_queue_ends_a_stream_after_what_it_accepted(stub: Any, stand_in: Any) -> None:
    """What was accepted is answered; then RESOURCE_EXHAUSTED with when to come again."""
    stand_in.on_submit = lambda image, future: None
    stream = stub.EmbedStream()
    await stream.write(pb.EmbedRequest(images=[b"accepted"]))
    await submitted(stand_in, 1)

    def full(image: bytes, future: Future[Result]) -> None:
        raise errors.Overloaded("full", retry_after=0.5)

    stand_in.on_submit = full
    await stream.write(pb.EmbedRequest(images=[b"too many"]))
    await stub.Lookup(pb.LookupRequest())
    stand_in.settle(stand_in.submitted[0], 1)
    assert len((await stream.read()).results) == 1
    error = await failure(stream.read())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "500"


async def test_a_stream_whose_caller_leaves_drops_its_images(stub: Any, stand_in: Any) -> None:
    """Whatever was under way; the next call is answered."""
    stand_in.on_submit = lambda image, future: None
    stream = stub.EmbedStream()
    await stream.write(pb.EmbedRequest(images=[b"a", b"b"]))
    await submitted(stand_in, 2)
    stream.cancel()
    async with asyncio.timeout(60):
        while not all(future.cancelled() for future in stand_in.submitted):
            await asyncio.sleep(0)
    stand_in.on_submit = lambda image, future: stand_in.settle(future, 1)
    assert len((await stub.Embed(pb.EmbedRequest(images=[b"c"]))).results) == 1


async def test_stopping_ends_streams_after_what_was_accepted(
    cold_server: Server, stub: Any, stand_in: Any
) -> None:
    """An idle stream does not hold the server up, and one under way is answered first."""
    stand_in.on_submit = lambda image, future: None
    idle, busy = stub.EmbedStream(), stub.EmbedStream()
    await idle.write(pb.EmbedRequest())
    assert not (await idle.read()).results
    await busy.write(pb.EmbedRequest(images=[b"a"]))
    await submitted(stand_in, 1)
    stopping = asyncio.ensure_future(cold_server.stop(grace=60))
    assert (await failure(idle.read())).code() is grpc.StatusCode.UNAVAILABLE
    stand_in.settle(stand_in.submitted[0], 1)
    assert len((await busy.read()).results) == 1
    assert (await failure(busy.read())).code() is grpc.StatusCode.UNAVAILABLE
    await asyncio.wait_for(stopping, 60)


async def test_streams_are_bounded(cold_server: Server, stub: Any) -> None:
    """One too many is refused at once."""
    cold_server.calls.limits = replace(cold_server.limits, streams=1)
    first = stub.EmbedStream()
    await first.write(pb.EmbedRequest())
    await first.read()
    error = await failure(stub.EmbedStream().read())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1 streams are open (at most 1)" in error.details()
    first.cancel()


async def test_streams_that_are_cancelled_leave_nothing_behind(
    cold_server: Server, stub: Any, stand_in: Any
) -> None:
    """Whatever moment it is: their room is free again, and no image is computed for nobody."""
    for turn in range(300):
        stream = stub.EmbedStream()
        for _ in range(3):
            await stream.write(pb.EmbedRequest(images=[b"x" * 1000]))
        for _ in range(turn % 20):
            await asyncio.sleep(0)
        stream.cancel()
    async with asyncio.timeout(60):
        while cold_server.calls.door.taken or cold_server.calls._reading:
            await asyncio.sleep(0.01)
    assert all(future.done() for future in stand_in.submitted)
