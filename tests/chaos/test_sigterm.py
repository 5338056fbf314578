"""`kill -TERM` under load: what was accepted is answered, what was not is told so, exit code 0."""

from __future__ import annotations

import asyncio
import signal

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from extractor import server
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from tests.chaos.conftest import PATIENCE_S, Album, Serve

CALLERS = 24
IMAGES = 8


class Caller:
    """Sends one request after another until the server sends it away; checks each answer."""

    def __init__(self, address: str, album: Album, number: int) -> None:
        self._channel = grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._album = album
        self._next = 10_000 * number
        self.answered = asyncio.Event()
        self.last: grpc.aio.AioRpcError | None = None

    async def go_on(self) -> None:
        async with self._channel:
            while self.last is None:
                numbers = range(self._next, self._next + IMAGES)
                self._next += IMAGES
                request = pb.EmbedRequest(images=[self._album.file(number) for number in numbers])
                try:
                    reply = await ExtractorStub(self._channel).Embed(request, timeout=PATIENCE_S)
                except grpc.aio.AioRpcError as failure:
                    self.last = failure
                else:
                    for number, result in zip(numbers, reply.results, strict=True):
                        self._album.check(number, result)
                    self.answered.set()


async def test_no_accepted_call_is_lost(serve: Serve, album: Album) -> None:
    """Watchers see NOT_SERVING, then each caller's first failure is that the server stops or is gone."""
    running = serve("--no-cache")
    callers = [Caller(running.address, album, number) for number in range(CALLERS)]
    jobs = [asyncio.create_task(caller.go_on()) for caller in callers]
    async with grpc.aio.insecure_channel(running.address) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=server.SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.gather(*(caller.answered.wait() for caller in callers))
        running.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*jobs)
    assert await asyncio.to_thread(running.wait) == 0
    for caller in callers:
        assert caller.last
        assert caller.last.code() is grpc.StatusCode.UNAVAILABLE, caller.last
        assert any(
            reason in (caller.last.details() or "") for reason in ("it is stopping", *NEVER_ARRIVED)
        ), caller.last
    assert "Traceback" not in running.log.read_text()


NEVER_ARRIVED = ("onnection refused", "GOAWAY")
"""What gRPC says of a call that no server has begun."""


async def test_a_second_term_ends_at_once_under_load(serve: Serve, album: Album) -> None:
    """Though it has work for seconds; its callers are told that it is gone."""
    running = serve("--no-cache")
    async with grpc.aio.insecure_channel(running.address) as channel:
        embed = ExtractorStub(channel).Embed
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=server.SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        files = [[album.file(500 * call + n) for n in range(500)] for call in range(8)]
        calls = [embed(pb.EmbedRequest(images=images), timeout=PATIENCE_S) for images in files]
        await asyncio.wait(
            [asyncio.ensure_future(call.code()) for call in calls], return_when="FIRST_COMPLETED"
        )
        running.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait) == -signal.SIGTERM
        codes = {await call.code() for call in calls}
    assert grpc.StatusCode.UNAVAILABLE in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
