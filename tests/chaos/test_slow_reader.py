"""A stream whose caller sends and never reads: it holds up nobody but itself, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from tests.chaos.conftest import PATIENCE_S, Album, Measured, peak_mb, wait_for

STREAMS = 4
IMAGES = 100
"""In a message: eight such messages of all streams are fewer images than the server accepts at once."""


class Sloth:
    """Sends messages on a connection of its own, and reads no answer until it is told to."""

    def __init__(self, address: str, request: pb.EmbedRequest) -> None:
        options = [*wire.MESSAGE_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(address, options)
        self._request = request
        self.stream = ExtractorStub(self._channel).EmbedStream()
        self.sent = 0
        self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while True:
            await self.stream.write(self._request)
            self.sent += 1

    async def leave(self) -> None:
        self._sending.cancel()
        self.stream.cancel()
        await self._channel.close()


async def stuck(measured: Measured, sloths: list[Sloth]) -> None:
    """Wait until all that the server accepted of them is computed, and it reads no more from them."""
    before: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while not before or not all(before) or before != [sloth.sent for sloth in sloths]:
            before = [sloth.sent for sloth in sloths]
            await asyncio.to_thread(wait_for, lambda: measured.metric("queue_items") == 0)
            await asyncio.sleep(0.5)
    assert not any(sloth.stream.done() for sloth in sloths)


async def test_who_never_reads_holds_up_nobody(measured: Measured, album: Album) -> None:
    """Others are answered, memory stays as it is, and when they leave all is given back."""
    request = pb.EmbedRequest(images=[album.file(number) for number in range(IMAGES)])
    sloths = [Sloth(measured.address, request) for _ in range(STREAMS)]
    await stuck(measured, sloths)
    before = peak_mb(measured.process)
    async with grpc.aio.insecure_channel(measured.address) as channel:
        for number in range(1000, 1300):
            reply = await ExtractorStub(channel).Embed(
                pb.EmbedRequest(images=[album.file(number)]), timeout=PATIENCE_S
            )
            album.check(number, reply.results[0])
        await read_a_stream(channel, album, range(2000, 2100))
    assert peak_mb(measured.process) - before < 50
    assert measured.metric("requests_in_flight") == STREAMS
    for sloth in sloths:
        await sloth.leave()
    await asyncio.to_thread(wait_for, measured.idle)
    assert measured.process.end() == 0
    assert "Traceback" not in measured.process.log.read_text()


async def read_a_stream(channel: grpc.aio.Channel, album: Album, numbers: range) -> None:
    """Send an image a message, and check that the answers come in their order."""
    stream = ExtractorStub(channel).EmbedStream(
        pb.EmbedRequest(images=[album.file(number)]) for number in numbers
    )
    answered = 0
    async for reply in stream:
        album.check(numbers[answered], reply.results[0])
        answered += 1
    assert answered == len(numbers)


async def test_who_reads_at_last_misses_nothing(measured: Measured, album: Album) -> None:
    """Every message is answered, in its order, however long its answer had to wait."""
    request = pb.EmbedRequest(images=[album.file(number) for number in range(IMAGES)])
    sloth = Sloth(measured.address, request)
    await stuck(measured, [sloth])
    for _ in range(sloth.sent):
        reply = await sloth.stream.read()
        for number, result in enumerate(reply.results):
            album.check(number, result)
    await sloth.leave()
    await asyncio.to_thread(wait_for, measured.idle)
    assert measured.process.end() == 0
