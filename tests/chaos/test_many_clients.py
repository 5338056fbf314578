"""Two hundred clients at once: right answers, or a refusal that passes; memory stays bounded."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.client import AsyncClient
from extractor.settings import DataFolder
from tests.chaos.conftest import PATIENCE_S, Album, FaultyServer, Serve, peak_mb

CLIENTS = 200
IMAGES = 5
MEMORY_MB = 1500
"""What gRPC holds ahead for each connection, and the messages; without a bound it would be 3 GB."""


@pytest.fixture
def standing(data: DataFolder, tmp_path: Path) -> Iterator[FaultyServer]:
    """A server with room for eight large calls; one with a white picture is answered once it may go on."""
    server = FaultyServer(data, tmp_path / "standing.log", "--no-cache", "--bytes-at-once", "64 MiB")
    yield server
    go_on(server)
    assert server.end() == 0


def go_on(server: FaultyServer) -> None:
    server.process.send_signal(signal.SIGUSR1)


@pytest.fixture
def white() -> bytes:
    """A picture with 6 MB behind its end, that are received and cost no computing."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(stream, "PNG")
    return stream.getvalue() + bytes(6 * 2**20)


async def until_answered(
    address: str, request: pb.EmbedRequest, refused: Callable[[], None]
) -> pb.EmbedResponse:
    """The answer, on a connection of its own; refusals say when to try again."""
    options = [*wire.MESSAGE_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        while True:
            try:
                return await ExtractorStub(channel).Embed(
                    request, timeout=4 * PATIENCE_S, wait_for_ready=True
                )
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                refused()
                trailers = dict(failure.trailing_metadata() or ())
                await asyncio.sleep(int(trailers["grpc-retry-pushback-ms"]) / 1000)


async def test_two_hundred_callers_are_answered_or_told_to_come_again(
    standing: FaultyServer, album: Album, white: bytes
) -> None:
    """Each with 6 MB that it does not announce; none is answered before one is refused."""
    before, refusals = peak_mb(standing), 0

    def refused() -> None:
        nonlocal refusals
        refusals += 1
        go_on(standing)

    async def call(client: int) -> None:
        numbers = range(IMAGES * client, IMAGES * (client + 1))
        request = pb.EmbedRequest(images=[*map(album.file, numbers), white])
        reply = await until_answered(standing.address, request, refused)
        for number, result in zip(numbers, reply.results, strict=False):
            album.check(number, result)
        assert reply.results[-1].embedding

    await asyncio.gather(*map(call, range(CLIENTS)))
    assert refusals
    assert peak_mb(standing) - before < MEMORY_MB


async def test_two_hundred_of_our_clients_never_see_a_refusal(serve: Serve, album: Album) -> None:
    """They wait and try again by themselves, as long as their timeout."""
    server = serve("--no-cache")

    async def job(start: int) -> None:
        async with AsyncClient(server.address, timeout=4 * PATIENCE_S) as client:
            results = await client.embed(album.file(start + number) for number in range(IMAGES))
        for number, result in enumerate(results, start):
            album.check(number, result)

    await asyncio.gather(*(job(1000 * client) for client in range(CLIENTS)))
    assert server.end() == 0
