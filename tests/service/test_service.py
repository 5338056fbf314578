"""The service over a stand-in for the embedder: order, limits, failures, callers that leave."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.call import Call
from extractor.door import Door
from extractor.results import Result
from extractor.server import SERVICE, Server
from extractor.settings import MAX_ITEMS_PER_CALL
from extractor.wire import unpack_results, unpack_rows
from tests.service.conftest import failure, submitted

ROOT = Path(__file__).parent.parent.parent


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
    missing, found, again = (row and row.vector for row in unpack_rows(response, 3))
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
    """It says when to try again, and nothing of the call is begun."""

    def on_submit(image: bytes, future: Future[Result]) -> None:
        if image == b"last":
            raise errors.Overloaded("full", retry_after=0.5)

    stand_in.on_submit = on_submit
    error = await failure(stub.Embed(pb.EmbedRequest(images=[b"first", b"last"])))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "500"
    assert not stand_in.submitted


async def test_a_plain_channel_tries_again_by_itself_when_told_so(
    cold_server: Server, stub: Any, stand_in: Any
) -> None:
    """By gRPC's own retries, as docs/service.md says: a refusal ends the call before any of an answer."""

    def on_submit(image: bytes, future: Future[Result]) -> None:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise errors.Overloaded("full", retry_after=0.5)
        stand_in.settle(future, 7)

    tries: list[float] = []
    stand_in.on_submit = on_submit
    (config,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/service.md").read_text(), re.DOTALL)
    options = [("grpc.service_config", config), ("grpc.per_rpc_retry_buffer_size", 2**20)]
    async with grpc.aio.insecure_channel(cold_server.address, options) as channel:
        answer = await ExtractorStub(channel).Embed(pb.EmbedRequest(images=[bytes(2**19)]))
    assert unpack_results(answer, 1)[0].ok
    first, second, third = tries
    assert min(second - first, third - second) > 0.45  # as the refusal asked, not as the channel would have


async def test_when_requests_fill_the_memory_the_next_is_refused_at_once(
    cold_server: Server, stub: Any, channel: grpc.aio.Channel, stand_in: Any
) -> None:
    """Before it is received; health and info are answered, and there is room again afterwards."""
    cold_server.calls.door = Door(1000, patience=0.2)
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


async def test_vectors_come_in_the_form_that_was_asked_for(stub: Any, stand_in: Any) -> None:
    """Computed or remembered; an unknown form is the caller's mistake."""
    stand_in.known = {b"d" * 32: np.float32([0, 3, 4])}
    form = pb.VectorForm(number=pb.VectorForm.FLOAT16, unit_length=True)
    embedded = await stub.Embed(pb.EmbedRequest(images=[b"two"], form=form))
    assert np.allclose(unpack_results(embedded, 1)[0].embedding, np.sqrt(1 / 3), atol=1e-3)
    found = await stub.Lookup(pb.LookupRequest(digests=[b"d" * 32], form=form))
    assert np.allclose(unpack_rows(found, 1)[0].vector, [0, 0.6, 0.8], atol=1e-3)
    assert len(found.embeddings[0]) == 6
    assert list(found.numerics) == ["stand/in"]
    for call in (stub.Embed, stub.EmbedStream):
        request = pb.EmbedRequest(form=pb.VectorForm(number=9))
        error = await failure(call(request) if call is stub.Embed else call(iter([request])).read())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "form.number is 9" in error.details()


async def test_a_call_is_named_in_its_trailer(stub: Any) -> None:
    """By the caller's own id where it is sound, else by a new one; also when it fails, or is a stream."""
    for said, expected in (("job-7/line 3", None), ("job-7:3", "job-7:3"), ("", None)):
        call = stub.GetInfo(pb.GetInfoRequest(), metadata=(("penultimate-request-id", said),))
        await call
        named = dict(await call.trailing_metadata())["penultimate-request-id"]
        assert named == expected or (expected is None and len(named) == 16)
    error = await failure(
        stub.Embed(pb.EmbedRequest(fingerprint="cd" * 32), metadata=(("penultimate-request-id", "mine"),))
    )
    assert dict(error.trailing_metadata())["penultimate-request-id"] == "mine"
    stream = stub.EmbedStream(metadata=(("penultimate-request-id", "mine"),))
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert dict(await stream.trailing_metadata())["penultimate-request-id"] == "mine"


async def test_the_callers_deadline_reaches_the_queue(stub: Any, stand_in: Any) -> None:
    """So that what comes too late is refused or dropped there."""
    deadlines = []
    submit = stand_in.submit
    stand_in.submit = lambda images, deadline: deadlines.append(deadline) or submit(images, deadline)
    await stub.Embed(pb.EmbedRequest(images=[b"a"]))
    await stub.Embed(pb.EmbedRequest(images=[b"a"]), timeout=30)
    assert deadlines[0] == math.inf
    assert 25 < deadlines[1] - time.monotonic() <= 31


class Watcher:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begun(self, call: Call) -> None:
        self.told.append(("begun", call.method))

    def answered(self, call: Call, results: Sequence[Result]) -> None:
        self.told.append(("answered", len(results), call.failed))

    def ended(self, call: Call, code: grpc.StatusCode, why: str) -> None:
        self.told.append(("ended", code, why, call.items))


async def test_observers_see_every_call(cold_server: Server, stub: Any) -> None:
    """Its beginning, its results, and how it ended."""
    watcher = Watcher()
    cold_server.calls.observers = (watcher,)
    await stub.Embed(pb.EmbedRequest(images=[b"a", b"b"]))
    await failure(stub.Lookup(pb.LookupRequest(digests=[b"short"])))
    method = "penultimate.v1.Extractor/"
    assert watcher.told[:3] == [
        ("begun", method + "Embed"),
        ("answered", 2, 0),
        ("ended", grpc.StatusCode.OK, "", 2),
    ]
    assert watcher.told[3] == ("begun", method + "Lookup")
    assert watcher.told[4][:2] == ("ended", grpc.StatusCode.INVALID_ARGUMENT)


async def test_an_answer_that_would_be_too_large_is_refused_before_it_is_computed(
    cold_server: Server, stub: Any, stand_in: Any
) -> None:
    """With both sizes, and what to do."""
    cold_server.calls.limits = replace(cold_server.limits, message_bytes=1000)
    error = await failure(stub.Embed(pb.EmbedRequest(images=[b"a"] * 4)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1,248 bytes" in error.details()
    assert not stand_in.submitted
