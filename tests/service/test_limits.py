"""What a server may be set to take on: messages, calls, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import fields
from typing import Any

import click
import grpc
import pytest
import pytest_asyncio

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.cli.configuration import Size
from extractor.cli.serve import command
from extractor.server import Server
from extractor.settings import Connections, HealthChecks, Limits, ServiceLimits
from tests.service.conftest import PATIENCE_S, submitted

LIMITS = {field.name for kind in (ServiceLimits, Limits, Connections, HealthChecks) for field in fields(kind)}

Open = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest_asyncio.fixture
async def connect(stand_in: Any) -> AsyncIterator[Open]:
    """Starts our server over the stand-in with what is given, and opens a channel to it."""
    opened: list[tuple[Server, grpc.aio.Channel]] = []

    async def connect(*arguments: tuple[str, int], **options: Any) -> grpc.aio.Channel:
        server = Server(stand_in, "127.0.0.1:0", **options)
        await server.start()
        await server.warm()
        opened.append((server, grpc.aio.insecure_channel(server.address, arguments)))
        return opened[-1][1]

    yield connect
    for server, channel in opened:
        await channel.close()
        await server.stop(grace=0)


async def test_a_request_over_the_limit_is_refused_with_both_numbers(connect: Open, stand_in: Any) -> None:
    """One under it is answered, and the limit is in the info."""
    stub = ExtractorStub(await connect(limits=ServiceLimits(message_bytes=1000)))
    assert (await stub.GetInfo(pb.GetInfoRequest())).limits.message_bytes == 1000
    assert len((await stub.Embed(pb.EmbedRequest(images=[bytes(900)]))).results) == 1
    with pytest.raises(grpc.aio.AioRpcError, match=r"larger than max \(\d+ vs. 1000\)") as refused:
        await stub.Embed(pb.EmbedRequest(images=[bytes(1000)]))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_items_of_a_call_are_limited(connect: Open) -> None:
    """With both numbers, for images and digests; the limit is in the info."""
    stub = ExtractorStub(await connect(limits=ServiceLimits(items_per_call=2)))
    assert (await stub.GetInfo(pb.GetInfoRequest())).limits.items_per_call == 2
    assert len((await stub.Embed(pb.EmbedRequest(images=[b"a", b"b"]))).results) == 2
    for call in (
        stub.Embed(pb.EmbedRequest(images=[b"a"] * 3)),
        stub.Lookup(pb.LookupRequest(digests=[bytes(32)] * 3)),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=r"has 3 .* may have 2") as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def largest() -> Iterator[str]:
    """Every limit, with the largest number that it can have."""
    for option in (option for option in command.params if option.name in LIMITS):
        yield option.opts[0]
        if isinstance(option.type, Size):
            yield str(2**31 - 1) if option.name == "message_bytes" else "1073741824 GiB"
        else:
            assert isinstance(option.type, click.IntRange | click.FloatRange)
            yield str(option.type.max)


def test_a_server_works_with_the_largest_numbers(serve: Callable[..., Any]) -> None:
    """What the options let pass, gRPC and the contract can carry."""
    server = serve(*largest())
    with grpc.insecure_channel(server.address) as channel:
        limits = ExtractorStub(channel).GetInfo(pb.GetInfoRequest(), timeout=PATIENCE_S).limits
    assert (limits.message_bytes, limits.items_per_call) == (2**31 - 1, 2**31 - 1)
    assert (limits.image_bytes, limits.image_pixels) == (2**60, 2**31 - 1)
    assert server.end() == 0


async def test_calls_of_a_connection_are_limited(connect: Open, stand_in: Any) -> None:
    """What is more waits with the caller until one is answered."""
    stand_in.on_submit = lambda image, future: None
    stub = ExtractorStub(await connect(connections=Connections(calls_per_connection=2)))
    calls = [stub.Embed(pb.EmbedRequest(images=[b"a"])) for _ in range(3)]
    await submitted(stand_in, 2)
    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
        await stub.GetInfo(pb.GetInfoRequest(), timeout=0.2)
    assert len(stand_in.submitted) == 2
    stand_in.on_submit = lambda image, future: stand_in.settle(future, 1)
    for future in stand_in.submitted[:2]:
        stand_in.settle(future, 1)
    assert [len((await call).results) for call in calls] == [1, 1, 1]


async def test_an_old_connection_ends_in_peace(connect: Open, stand_in: Any) -> None:
    """The call under way is answered; the next one goes over a new connection."""
    stand_in.on_submit = lambda image, future: None
    channel = await connect(connections=Connections(connection_age=0.2))
    stub = ExtractorStub(channel)
    call = stub.Embed(pb.EmbedRequest(images=[b"a"]))
    await submitted(stand_in, 1)
    ready = grpc.ChannelConnectivity.READY
    async with asyncio.timeout(PATIENCE_S):
        await channel.wait_for_state_change(ready)  # the server has asked it to leave
    assert not call.done()
    stand_in.settle(stand_in.submitted[0], 1)
    assert len((await call).results) == 1
    assert (await stub.GetInfo(pb.GetInfoRequest())).dim


async def test_who_pings_more_often_than_is_allowed_is_cut_off(connect: Open) -> None:
    """And nobody else: two clients ping alike, idle, and their servers allow it or not."""
    pings = (
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    allowed, abusive = [
        await connect(*pings, connections=Connections(ping_interval=seconds)) for seconds in (0.01, 60)
    ]
    for channel in (allowed, abusive):
        assert (await ExtractorStub(channel).GetInfo(pb.GetInfoRequest())).dim
    async with asyncio.timeout(PATIENCE_S):
        await abusive.wait_for_state_change(grpc.ChannelConnectivity.READY)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await allowed.wait_for_state_change(grpc.ChannelConnectivity.READY)


async def test_a_connection_stays_unless_asked_to_leave(connect: Open) -> None:
    """By default no age ends it."""
    channel = await connect()
    assert (await ExtractorStub(channel).GetInfo(pb.GetInfoRequest())).dim
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
