"""Ten thousand requests, of which three tenths are a nuisance: every good one is answered rightly."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from tests.chaos.conftest import PATIENCE_S, Album, Measured, wait_for

KINDS = {"good": 6000, "known": 1000, "corrupt": 1000, "hurried": 1000, "cancelled": 150, "silent": 150}
CHANNELS, CALLS_OF_EACH = 12, 25
PROCESSES, CALLS_OF_EACH_PROCESS = 4, 100
AT_ONCE = 64
KNOWN = 100
"""Numbers of the files that are sent again and again."""


class Traffic:
    """Makes calls of each kind, and checks what comes of them."""

    def __init__(self, address: str, channel: grpc.aio.Channel, album: Album) -> None:
        self._address, self._channel, self._album = address, channel, album
        self._numbers = iter(range(KNOWN, 10**6))
        self._chance = random.Random(5)
        self.seen: Counter[str] = Counter()

    async def call(self, kind: str) -> None:
        await getattr(self, kind)()
        self.seen[kind] += 1

    async def good(self) -> None:
        await self._embed_rightly(next(self._numbers))

    async def known(self) -> None:
        await self._embed_rightly(self._chance.randrange(KNOWN))

    async def corrupt(self) -> None:
        """Between two good neighbours, which come to no harm."""
        before, after = (self._chance.randrange(KNOWN) for _ in range(2))
        file = self._album.file(next(self._numbers))
        torn = file[: self._chance.randrange(len(file) - 2)]
        files = [self._album.file(before), torn, self._album.file(after)]
        reply = await self._embed(self._channel, files, PATIENCE_S)
        self._album.check(before, reply.results[0])
        assert reply.results[1].error.code == pb.ImageError.INVALID_IMAGE
        self._album.check(after, reply.results[2])

    async def hurried(self) -> None:
        """With milliseconds of time: it is answered rightly, or told that it was too late."""
        number = next(self._numbers)
        try:
            reply = await self._embed(
                self._channel, [self._album.file(number)], self._chance.uniform(0.0005, 0.05)
            )
        except grpc.aio.AioRpcError as failure:
            if failure.code() not in TOO_LATE:
                raise
            self.seen[failure.code().name] += 1
        else:
            if reply.results[0].error.code == pb.ImageError.DEADLINE_EXCEEDED:
                self.seen["DEADLINE_EXCEEDED"] += 1
            else:
                self._album.check(number, reply.results[0])

    async def cancelled(self) -> None:
        call = self._embed(self._channel, [self._album.file(next(self._numbers))], PATIENCE_S)
        await call.wait_for_connection()
        for _ in range(self._chance.randrange(100)):
            await asyncio.sleep(0)
        call.cancel()

    async def silent(self) -> None:
        """It begins a call, sends no message, and leaves."""

        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        call = self._channel.stream_unary("/penultimate.v1.Extractor/Embed")(nothing())
        await call.wait_for_connection()
        call.cancel()

    async def channel(self) -> None:
        """A connection that is closed with calls under way."""
        async with grpc.aio.insecure_channel(self._address, LONELY) as channel:
            files = (self._album.file(next(self._numbers)) for _ in range(CALLS_OF_EACH))
            calls = [self._embed(channel, [file], PATIENCE_S) for file in files]
            await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], return_when=FIRST)

    async def process(self) -> None:
        """A client that is killed with calls under way."""
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.leaving_client", self._address, str(CALLS_OF_EACH_PROCESS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdin
        assert client.stdout
        client.stdin.write(self._album.file(next(self._numbers)))
        client.stdin.write_eof()
        assert await client.stdout.readline() == b"answered\n"
        client.kill()
        await client.wait()

    async def _embed_rightly(self, number: int) -> None:
        reply = await self._embed(self._channel, [self._album.file(number)], PATIENCE_S)
        self._album.check(number, reply.results[0])

    def _embed(self, channel: grpc.aio.Channel, files: list[bytes], timeout: float) -> Any:
        request = pb.EmbedRequest(images=files)
        size = ((wire.SIZE, str(request.ByteSize())),)
        return ExtractorStub(channel).Embed(request, timeout=timeout, metadata=size)


FIRST = asyncio.FIRST_COMPLETED
LONELY = [("grpc.use_local_subchannel_pool", 1)]
TOO_LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_ten_thousand_mixed_requests(measured: Measured, album: Album) -> None:
    """Then nothing is in flight, nothing is queued, one more is answered, and the log has no trace."""
    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    kinds += ["channel"] * CHANNELS + ["process"] * PROCESSES
    random.Random(4).shuffle(kinds)
    places = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(measured.address) as channel:
        traffic = Traffic(measured.address, channel, album)

        async def one(kind: str) -> None:
            async with places:
                await traffic.call(kind)

        await asyncio.gather(*map(one, kinds))
        assert sum(KINDS.values()) + CHANNELS * CALLS_OF_EACH + PROCESSES * CALLS_OF_EACH_PROCESS == 10_000
        assert {kind: traffic.seen[kind] for kind in KINDS} == KINDS
        assert traffic.seen["DEADLINE_EXCEEDED"], "no deadline was too short, so none was tested"
        await asyncio.to_thread(wait_for, measured.idle)
        await traffic.good()
    assert measured.metric("computed_items_total") > KINDS["good"]
    assert measured.process.end() == 0
    assert "Traceback" not in measured.process.log.read_text()
