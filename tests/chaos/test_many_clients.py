"""Two hundred clients at once: right answers, or a refusal that passes; memory stays bounded."""

from __future__ import annotations

import asyncio

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.client import AsyncClient
from tests.chaos.conftest import PATIENCE_S, Album, Serve, peak_mb

CLIENTS = 200
IMAGES = 10
MEMORY_MB = 1500
"""What gRPC holds ahead for each connection, and 256 MiB of messages; without a bound it would be 3 GB."""


async def until_answered(
    address: str, request: pb.EmbedRequest, together: asyncio.Barrier
) -> tuple[pb.EmbedResponse, int]:
    """The answer, and how often the call was refused before; refusals say when to try again."""
    refused = 0
    options = [*wire.MESSAGE_LIMITS, ("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    async with grpc.aio.insecure_channel(address, options) as channel:
        await channel.channel_ready()
        await together.wait()  # to connect takes longer than to be answered
        while True:
            try:
                return await ExtractorStub(channel).Embed(request, timeout=4 * PATIENCE_S), refused
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                trailers = dict(failure.trailing_metadata() or ())
                refused += 1
                await asyncio.sleep(int(trailers["grpc-retry-pushback-ms"]) / 1000)


async def test_two_hundred_callers_are_answered_or_told_to_come_again(serve: Serve, album: Album) -> None:
    """Each on a connection of its own, with 6 MB that it does not announce; there is room for four."""
    server = serve("--no-cache", "--bytes-at-once", "64 MiB")
    before = peak_mb(server)
    together = asyncio.Barrier(CLIENTS)
    padding = bytes(6 * 2**20)  # behind the picture's end, so that it is received and costs no computing

    async def call(client: int) -> int:
        numbers = range(IMAGES * client, IMAGES * (client + 1))
        files = [album.file(number) for number in numbers]
        request = pb.EmbedRequest(images=[*files, padding])
        reply, refused = await until_answered(server.address, request, together)
        for number, result in zip(numbers, reply.results, strict=False):
            album.check(number, result)
        assert reply.results[-1].error.code == pb.ImageError.INVALID_IMAGE
        return refused

    refusals = await asyncio.gather(*(call(client) for client in range(CLIENTS)))
    assert sum(refusals), "all found room at once, so refusing was not tested"
    assert peak_mb(server) - before < MEMORY_MB
    assert server.end() == 0


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
