"""What calls give back when their callers leave, at whatever moment, or when they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, NoReturn

import grpc
import pytest
from grpc._cython import cygrpc

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls
from extractor.errors import Overloaded
from extractor.service import ExtractorService
from extractor.settings import ServiceLimits
from tests.service.conftest import calls_in_memory, failure, no_call_in_memory, submitted

MESSAGES = 5


class Caller:
    """What gRPC gives a method for a caller who sends some messages; it may read no answer, or be gone."""

    def __init__(self, *, reads: bool = True, gone: bool = False) -> None:
        self._left = MESSAGES
        self._reads, self._gone = reads, gone

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def set_trailing_metadata(self, trailers: Any) -> None:
        pass

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if not self._left:
            await asyncio.Event().wait()
        self._left -= 1
        return pb.EmbedRequest(images=[bytes(100)]).SerializeToString()

    async def write(self, message: bytes) -> None:
        if self._gone:
            raise cygrpc.ExecuteBatchError("execute_batch")
        if not self._reads:
            await asyncio.Event().wait()

    async def abort(self, *status: Any) -> None:
        """As when its caller has gone."""
        raise cygrpc.ExecuteBatchError("execute_batch")


@pytest.fixture
def calls() -> Calls:
    calls = Calls(ServiceLimits())
    calls.not_ready = ""
    return calls


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("turns", [0, 1, 5, 1000])
async def test_a_stream_gives_its_room_back_at_whatever_moment_it_is_left(
    calls: Calls, reads: bool, turns: int
) -> None:
    """Also for a message that came in the very turn of the event loop in which its caller left."""
    begun = ended = 0

    def handler(request: pb.EmbedRequest, call: Call) -> Awaitable[pb.EmbedResponse]:
        async def answer() -> pb.EmbedResponse:
            nonlocal begun, ended
            begun += 1
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
                return pb.EmbedResponse()
            finally:
                ended += 1

        return answer()

    method = calls.stream("a/b", handler, pb.EmbedRequest)
    for moment in range(40):
        stream = asyncio.ensure_future(method.stream_stream(None, Caller(reads=reads)))
        for _ in range(moment):
            await asyncio.sleep(0)
        stream.cancel()
        with suppress(asyncio.CancelledError):
            await stream
        assert calls.door.taken == 0, f"left in turn {moment}"
        assert begun == ended
    assert begun


async def test_a_refusal_that_finds_no_caller_is_no_fault(calls: Calls) -> None:
    """gRPC cannot send the status then; the call just ends, as all calls whose callers have gone."""

    def refuse(call: Call) -> NoReturn:
        raise Overloaded("full")

    async def answer(request: pb.EmbedRequest, call: Call) -> pb.EmbedResponse:
        return pb.EmbedResponse()

    method = calls.unary("a/b", answer, pb.EmbedRequest, 0, gate=refuse)
    with pytest.raises(asyncio.CancelledError):
        await method.stream_unary(None, Caller(reads=True))


class Silent(Caller):
    """One who sends nothing."""

    async def read(self) -> bytes:
        return await asyncio.Future[bytes]()


async def test_requests_that_are_being_received_come_before_the_next(
    calls: Calls, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they are accepted, or their callers leave; but for a moment only, when those send nothing."""
    monkeypatch.setattr("extractor.service.SOON", 60.0)
    ahead: list[int] = []
    stand_in.check_room = lambda deadline, others: ahead.append(others)
    embed: Any = ExtractorService(stand_in, calls).methods()["Embed"].stream_unary
    silent = [asyncio.create_task(embed(None, Silent())) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(2):
        assert pb.EmbedResponse.FromString(await embed(None, Caller())).results[0].embedding
    silent.pop().cancel()
    await asyncio.sleep(0)
    await embed(None, Caller())
    monkeypatch.setattr("extractor.service.SOON", 0.0)
    await embed(None, Caller())
    assert ahead == [0, 1, 2, 3, 3, 2, 0]
    for call in silent:
        call.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_a_request_that_was_refused_or_failed_is_not_waited_behind(calls: Calls, stand_in: Any) -> None:
    ahead: list[int] = []

    def check_room(_deadline: float, others: int) -> None:
        ahead.append(others)
        if len(ahead) == 1:
            raise Overloaded("full")

    stand_in.check_room = check_room
    embed: Any = ExtractorService(stand_in, calls).methods()["Embed"].stream_unary
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):  # its caller has gone by then
            await embed(None, Caller())
        stand_in.submit = None  # a fault of ours
    assert ahead == [0, 0, 0]


async def test_an_answer_of_a_stream_that_finds_no_caller_is_no_fault(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection may break between an answer and its sending."""

    async def answer(request: pb.EmbedRequest, call: Call) -> pb.EmbedResponse:
        return pb.EmbedResponse()

    method = calls.stream("a/b", answer, pb.EmbedRequest)
    with pytest.raises(asyncio.CancelledError):
        await method.stream_stream(None, Caller(gone=True))
    assert calls.door.taken == 0
    assert not caplog.records


@pytest.mark.usefixtures("collector_off")
async def test_refused_calls_do_not_stay_in_memory(
    stub: Any, stand_in: Any, channel: grpc.aio.Channel
) -> None:
    """Before they are received or after, and on a stream: else a full server holds all that it refused."""

    def full(*_: object) -> NoReturn:
        try:
            raise KeyError("full")
        except KeyError as error:
            raise Overloaded("full") from error

    stand_in.on_submit = lambda image, future: None
    held = asyncio.ensure_future(stub.Embed(pb.EmbedRequest(images=[b"held"])))
    await submitted(stand_in, 1)
    assert calls_in_memory()
    stand_in.on_submit = full
    for _ in range(3):
        await failure(stub.Embed(pb.EmbedRequest(images=[bytes(1000)])))
        await failure(channel.unary_unary("/penultimate.v1.Extractor/Embed")(b"\xff"))  # no message
        stream = stub.EmbedStream()
        await stream.write(pb.EmbedRequest(images=[bytes(1000)]))
        assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    stand_in.check_room = full
    for _ in range(3):
        await failure(stub.Embed(pb.EmbedRequest(images=[bytes(1000)])))
    stand_in.settle(stand_in.submitted[0], 1)
    await held
    await no_call_in_memory()
