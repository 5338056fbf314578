"""The service over a stand-in for the embedder: order, limits, failures, callers that leave."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.results import Result
from extractor.server import SERVICE, Server
from extractor.service import Door
from extractor.settings import MAX_ITEMS_PER_CALL
from extractor.wire import unpack_results, unpack_vectors


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def submitted(stand_in: Any, count: int) -> None:
    """Wait until the service has handed over `count` images."""
    async with asyncio.timeout(60):
        while len(stand_in.submitted) < count:
            await asyncio.sleep(0)


async def test_results_come_in_the_order_of_the_images(stub: Any, stand_in: Any) -> None:
    """Whatever order they are finished in."""
    stand_in.on_submit = lambda image, future: None
    call = stub.Embed(pb.EmbedRequest(images=[b"1", b"2", b"3"]))
    await submitted(stand_in, 3)
    for value, future in reversed(list(enumerate(stand_in.submitted))):
        stand_in.settle(future, value)
    results = unpack_results(await call, 3)
    assert [result.embedding[0] for result in results if result.ok] == [0, 1, 2]


async def test_a_call_without_images_has_no_results(stub: Any) -> None:
    """It is answered all the same, with the backbone's facts."""
    response = await stub.Embed(pb.EmbedRequest())
    assert (len(response.results), response.dim, response.numerics) == (0, 3, "stand/in")


async def test_a_bad_image_fails_alone(stub: Any, stand_in: Any) -> None:
    """The call succeeds, and the reason is in the image's own result."""

    def on_submit(image: bytes, future: Future[Result]) -> None:
        if image == b"bad":
            future.set_result(Result(None, errors.InvalidImage("no picture"), b"d", False, "f"))
        else:
            stand_in.settle(future, 1)

    stand_in.on_submit = on_submit
    response = await stub.Embed(pb.EmbedRequest(images=[b"good", b"bad", b"good"]))
    assert [result.WhichOneof("outcome") for result in response.results] == [
        "embedding",
        "error",
        "embedding",
    ]
    assert response.results[1].error == pb.ImageError(code=pb.ImageError.INVALID_IMAGE, reason="no picture")


async def test_lookup_gives_what_is_remembered(stub: Any, stand_in: Any) -> None:
    """In the order of the digests, nothing where nothing is, and nothing is computed."""
    stand_in.known = {b"b" * 32: np.arange(3, dtype=np.float32)}
    digests = [b"a" * 32, b"b" * 32, b"a" * 32]
    response = await stub.Lookup(pb.LookupRequest(digests=digests, fingerprint=stand_in.fingerprint))
    assert response.fingerprint == stand_in.fingerprint
    missing, found, again = unpack_vectors(response, 3)
    assert (missing, again) == (None, None)
    assert list(found) == [0, 1, 2]
    assert not stand_in.submitted


@pytest.mark.parametrize(
    ("request_", "code", "sentence"),
    [
        (pb.LookupRequest(digests=[b"short"]), "INVALID_ARGUMENT", "32 bytes"),
        (pb.LookupRequest(digests=[bytes(32)] * (MAX_ITEMS_PER_CALL + 1)), "INVALID_ARGUMENT", "1025"),
        (pb.LookupRequest(fingerprint="cd" * 32), "FAILED_PRECONDITION", "cdcdcdcdcdcd"),
    ],
)
async def test_a_lookup_that_cannot_be_is_refused(
    stub: Any, request_: pb.LookupRequest, code: str, sentence: str
) -> None:
    """With the value that was wrong."""
    error = await failure(stub.Lookup(request_))
    assert error.code().name == code
    assert sentence in error.details()


async def test_info_says_what_is_served(stub: Any, stand_in: Any) -> None:
    """Backbone, fingerprint, size of the input, limits."""
    info = await stub.GetInfo(pb.GetInfoRequest())
    assert (info.backbone, info.fingerprint, info.dim) == ("stand-in", stand_in.fingerprint, 3)
    assert (info.input_height, info.input_width) == (5, 7)
    assert info.limits.items_per_call == MAX_ITEMS_PER_CALL
    assert info.limits.image_bytes == stand_in.limits.image_bytes


async def test_too_many_images_are_refused(stub: Any, stand_in: Any) -> None:
    """Before any of them is begun, with both numbers."""
    error = await failure(stub.Embed(pb.EmbedRequest(images=[b""] * (MAX_ITEMS_PER_CALL + 1))))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(MAX_ITEMS_PER_CALL + 1) in error.details()
    assert not stand_in.submitted


async def test_a_message_over_the_limit_is_refused(stub: Any) -> None:
    """gRPC itself says how large it was and may be."""
    error = await failure(stub.Embed(pb.EmbedRequest(images=[bytes(2**26)])))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(2**26) in error.details()


async def test_another_backbone_is_refused(stub: Any, stand_in: Any) -> None:
    """With the server's own fingerprint in a trailer."""
    error = await failure(stub.Embed(pb.EmbedRequest(images=[b"a"], fingerprint="cd" * 32)))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert dict(error.trailing_metadata())["penultimate-fingerprint"] == stand_in.fingerprint
    assert not stand_in.submitted


async def test_a_full_queue_refuses_the_call(stub: Any, stand_in: Any) -> None:
    """It says when to try again, and drops what the call had got in already."""

    def on_submit(image: bytes, future: Future[Result]) -> None:
        if image == b"last":
            raise errors.Overloaded("full", retry_after=0.5)

    stand_in.on_submit = on_submit
    error = await failure(stub.Embed(pb.EmbedRequest(images=[b"first", b"last"])))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "500"
    assert [future.cancelled() for future in stand_in.submitted] == [True]


async def test_when_requests_fill_the_memory_the_next_is_refused_at_once(
    cold_server: Server, stub: Any, channel: grpc.aio.Channel, stand_in: Any
) -> None:
    """Before it is received; health and info are answered, and there is room again afterwards."""
    cold_server.service.door = Door(1000)
    stand_in.on_submit = lambda image, future: None
    first = stub.Embed(pb.EmbedRequest(images=[bytes(700)]))
    await submitted(stand_in, 1)
    for header in ((), (("penultimate-request-bytes", "400"),)):
        error = await failure(stub.Embed(pb.EmbedRequest(images=[bytes(390)]), metadata=header))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "at most 1,000" in error.details()
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    assert len(stand_in.submitted) == 1
    assert (await stub.GetInfo(pb.GetInfoRequest())).dim
    assert (await HealthStub(channel).Check(health_pb2.HealthCheckRequest())).status
    small = stub.Embed(pb.EmbedRequest(images=[bytes(200)]), metadata=(("penultimate-request-bytes", "210"),))
    await submitted(stand_in, 2)
    for future in stand_in.submitted:
        stand_in.settle(future, 1)
    assert [len((await call).results) for call in (first, small)] == [1, 1]
    stand_in.on_submit = lambda image, future: stand_in.settle(future, 1)
    assert len((await stub.Embed(pb.EmbedRequest(images=[bytes(990)]))).results) == 1


class Sender:
    """A caller whose message comes when the test says so."""

    def __init__(self) -> None:
        self.message: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def read(self) -> Any:
        return await self.message


async def test_room_that_is_only_kept_is_waited_for() -> None:
    """A call that said too much hinders others no longer than until its message is here."""
    door, slow, quick = Door(100), Sender(), Sender()
    first = asyncio.ensure_future(door.receive(slow, 100))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(door.receive(quick, 50))
    slow.message.set_result(bytes(10))
    quick.message.set_result(bytes(50))
    assert [len(await first), len(await second)] == [10, 50]


async def test_room_that_is_kept_for_long_is_a_full_server() -> None:
    """A caller that never sends holds others up for a moment; when it leaves, its room is free."""
    door, never, quick = Door(100), Sender(), Sender()
    quick.message.set_result(bytes(50))
    first = asyncio.ensure_future(door.receive(never, 100))
    await asyncio.sleep(0)
    with pytest.raises(errors.Overloaded):
        await door.receive(quick, 50)
    first.cancel()
    await asyncio.wait([first])
    assert len(await door.receive(quick, 50)) == 50


async def test_a_message_larger_than_the_room_comes_in_alone() -> None:
    """Or it could never be answered."""
    door, sender = Door(100), Sender()
    sender.message.set_result(bytes(200))
    assert len(await door.receive(sender, 200)) == 200
    with pytest.raises(errors.Overloaded):
        await door.receive(sender, 1)
    door.release(200)
    assert len(await door.receive(sender, 1)) == 200


async def test_what_is_no_message_is_the_callers_mistake(stub: Any, channel: grpc.aio.Channel) -> None:
    """Bytes that are none, and a call that ends without any."""
    error = await failure(channel.unary_unary("/penultimate.v1.Extractor/Embed")(b"no message"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "10 bytes are no penultimate.v1.EmbedRequest" in error.details()
    nothing = channel.stream_unary("/penultimate.v1.Extractor/Embed")(iter(()))
    error = await failure(nothing)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "before it had sent a message" in error.details()


async def test_our_own_fault_is_logged_here_and_plain_there(
    stub: Any, stand_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns no inner detail; the log has the trace."""
    stand_in.on_submit = lambda image, future: future.set_exception(RuntimeError("a secret path"))
    with caplog.at_level(logging.ERROR):
        error = await failure(stub.Embed(pb.EmbedRequest(images=[b"a"])))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert "a secret path" in caplog.text
    assert "Traceback" in caplog.text


async def test_when_the_caller_leaves_its_images_are_dropped(stub: Any, stand_in: Any) -> None:
    """A cancelled call cancels what has not begun; the next call is answered."""
    stand_in.on_submit = lambda image, future: None
    call = stub.Embed(pb.EmbedRequest(images=[b"a", b"b"]))
    await submitted(stand_in, 2)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    stand_in.submitted[1].add_done_callback(lambda _: loop.call_soon_threadsafe(gone.set))
    call.cancel()
    await asyncio.wait_for(gone.wait(), 60)
    assert all(future.cancelled() for future in stand_in.submitted)
    stand_in.on_submit = lambda image, future: stand_in.settle(future, 1)
    assert len((await stub.Embed(pb.EmbedRequest(images=[b"c"]))).results) == 1


async def test_before_the_warm_up_nothing_is_answered(
    cold_server: Server, channel: grpc.aio.Channel, stand_in: Any
) -> None:
    """Calls fail as unavailable, and the health check says so, until it is warm."""
    health = HealthStub(channel)

    async def status(service: str) -> str:
        reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    assert [await status(""), await status(SERVICE)] == ["NOT_SERVING", "NOT_SERVING"]
    stub = ExtractorStub(channel)
    for call in (stub.Embed(pb.EmbedRequest(images=[b"a"])), stub.GetInfo(pb.GetInfoRequest())):
        error = await failure(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "starting" in error.details()
    assert not stand_in.submitted
    await cold_server.warm()
    assert [await status(""), await status(SERVICE)] == ["SERVING", "SERVING"]


async def test_stopping_finishes_what_was_accepted(cold_server: Server, stub: Any, stand_in: Any) -> None:
    """A call under way is answered; a new one is refused; who watches the health learns it first."""
    stand_in.on_submit = lambda image, future: None
    call = stub.Embed(pb.EmbedRequest(images=[b"a"]))
    await submitted(stand_in, 1)
    stopping = asyncio.ensure_future(cold_server.stop(grace=60))
    while not (error := await refused(stub)):
        pass
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert not stopping.done()
    stand_in.settle(stand_in.submitted[0], 1)
    assert len((await call).results) == 1
    await asyncio.wait_for(stopping, 60)


async def refused(stub: Any) -> grpc.aio.AioRpcError | None:
    try:
        await stub.GetInfo(pb.GetInfoRequest())
    except grpc.aio.AioRpcError as error:
        return error
    return None
