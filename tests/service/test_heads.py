"""Heads over gRPC, with a stand-in that embeds a few bytes as its numbers."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from classifiers.data.features import Features
from classifiers.service import HeadsService
from classifiers.service.gauges import DriftGauges
from classifiers.store.publishing import publish
from classifiers.store.versions import promote, versions
from classifiers.training import train as training
from classifiers.training.train import train
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor._pb.penultimate.v1.heads_pb2_grpc import HeadsStub
from extractor.collections import Collection, Item
from extractor.errors import InvalidImage
from extractor.results import Result
from extractor.server import Server
from extractor.settings import DataFolder, ServiceLimits
from tests.service.conftest import PATIENCE_S, StandIn

OTHER = "cd" * 32
COLOURS = {"red": (200, 20, 20), "blue": (20, 20, 200)}


def embed_numbers(stand_in: StandIn) -> None:
    """Let an image of three bytes have those as its vector, and all others be no images."""

    def settle(image: bytes, future: Future[Result]) -> None:
        digest = hashlib.sha256(image).digest()
        if len(image) == 3:
            vector = np.frombuffer(image, np.uint8).astype(np.float32)
            stand_in.known[digest] = vector
            future.set_result(Result(vector, None, digest, False, stand_in.fingerprint))
        else:
            error = InvalidImage(f"{image!r} is no image")
            future.set_result(Result(None, error, digest, False, stand_in.fingerprint))

    stand_in.on_submit = settle


def pictures(label: str, count: int, seed: int = 0) -> list[bytes]:
    """Images of one colour with noise, no two the same."""
    numbers = np.random.default_rng([seed, *label.encode()]).normal(COLOURS[label], 8, (3 * count, 3))
    found = dict.fromkeys(bytes(row) for row in np.clip(numbers, 0, 255).astype(np.uint8))
    return list(found)[:count]


def labelled_rows(fingerprint: str = StandIn.fingerprint) -> Features:
    """Red and blue pictures."""
    rows = [(image, label) for label in COLOURS for image in pictures(label, 200)]
    return Features(
        X=np.array([np.frombuffer(image, np.uint8) for image, _ in rows], np.float32),
        y=np.array([label for _, label in rows]),
        digests=np.array([hashlib.sha256(image).hexdigest() for image, _ in rows]),
        images=[str(row) for row in range(len(rows))],
        fingerprint=fingerprint,
        rejected=[],
    )


def save(data: DataFolder, name: str = "colours", fingerprint: str = StandIn.fingerprint, **how: Any) -> int:
    """Fit a head on red and blue pictures; its version."""
    training = train(name, labelled_rows(fingerprint), backbone="stand-in", test_size=0.5)
    return publish(training, data, **how).saved.version


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def gauges() -> DriftGauges:
    return DriftGauges()


async def started(stand_in: StandIn, data: DataFolder, gauges: DriftGauges) -> Server:
    server = Server(
        stand_in,
        "127.0.0.1:0",
        services=[lambda embedder, calls: HeadsService(data, embedder, calls, gauges)],
        limits=ServiceLimits(items_per_call=1000),
    )
    await server.start()
    await server.warm()
    return server


@pytest_asyncio.fixture
async def server(stand_in: StandIn, data: DataFolder, gauges: DriftGauges) -> AsyncIterator[Server]:
    embed_numbers(stand_in)
    server = await started(stand_in, data, gauges)
    yield server
    await server.stop(grace=1)


@pytest_asyncio.fixture
async def stub(server: Server) -> AsyncIterator[HeadsStub]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = HeadsStub(channel)
        stub.address = server.address
        yield stub


def by_image(*images: bytes) -> list[pb.HeadInput]:
    return [pb.HeadInput(image=image) for image in images]


def by_vector(*numbers: float, **more: Any) -> pb.HeadInput:
    return pb.HeadInput(vector=np.array(numbers, "<f4").tobytes(), **more)


def asking(*inputs: pb.HeadInput, heads: Iterable[str] = ("colours",), **more: Any) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(heads=heads, inputs=inputs, **more)


def fitting_on(rows: Iterable[tuple[pb.HeadInput, str]], **options: Any) -> list[pb.FitRequest]:
    """The requests of a fit, a hundred inputs in each."""
    labelled = [pb.LabelledInput(input=each, label=label) for each, label in rows]
    parts = [labelled[at : at + 100] for at in range(0, len(labelled), 100)] or [[]]
    first = pb.FitRequest(options=pb.FitOptions(**{"name": "colours", **options}), inputs=parts[0])
    return [first, *(pb.FitRequest(inputs=part) for part in parts[1:])]


def coloured() -> list[tuple[pb.HeadInput, str]]:
    return [(pb.HeadInput(image=image), label) for label in COLOURS for image in pictures(label, 60)]


async def said(stub: HeadsStub, requests: list[pb.FitRequest]) -> list[pb.FitProgress]:
    """All answers. From a blocking channel: gRPC's asyncio loses a status that comes while it still sends."""

    def ask() -> list[pb.FitProgress]:
        with grpc.insecure_channel(stub.address) as channel:
            return list(HeadsStub(channel).Fit(iter(requests)))

    return await asyncio.to_thread(ask)


async def fitted(stub: HeadsStub, requests: list[pb.FitRequest]) -> pb.Fitted:
    return (await said(stub, requests))[-1].fitted


async def failing(call: Any, code: grpc.StatusCode) -> Any:
    with pytest.raises(grpc.RpcError) as failure:
        await call
    assert failure.value.code() is code, failure.value.details()
    return failure.value


def labels(answer: pb.ClassifyResponse, head: int = 0) -> list[list[str]]:
    return [list(result.classifications[head].labels) for result in answer.results]


async def test_images_digests_and_vectors_are_classified_each_in_its_place(
    data: DataFolder, stub: HeadsStub
) -> None:
    """What cannot be used says so in its place; the version that answered is named."""
    save(data)
    red, blue = pictures("red", 1, 5)[0], pictures("blue", 1, 5)[0]
    await stub.Classify(asking(*by_image(red)))
    answer = await stub.Classify(
        asking(
            *by_image(red, b"no image", blue),
            pb.HeadInput(digest=hashlib.sha256(red).digest()),
            pb.HeadInput(digest=b"never seen" * 3 + b"..", id="lost"),
            pb.HeadInput(digest=b"short"),
            by_vector(20, 20, 200),
            by_vector(20, 20),
            by_vector(20, np.nan, 200),
            pb.HeadInput(),
        )
    )
    assert [(head.name, head.version) for head in answer.heads] == [("colours", 1)]
    codes = [result.error.code for result in answer.results]
    wrong = pb.HeadError.INVALID_ARGUMENT
    invalid, missing = pb.HeadError.INVALID_IMAGE, pb.HeadError.NOT_FOUND
    assert codes == [0, invalid, 0, 0, missing, wrong, 0, wrong, wrong, wrong]
    found = [label for result in answer.results for each in result.classifications for label in each.labels]
    assert found == ["red", "blue", "red", "blue"]
    first = answer.results[0]
    assert first.digest == hashlib.sha256(red).digest()
    assert [each.label for each in first.classifications[0].answers] == ["red", "blue"]
    assert sum(each.probability for each in first.classifications[0].answers) == pytest.approx(1)
    assert answer.results[3].cached


async def test_several_heads_cost_one_embedding(data: DataFolder, stub: HeadsStub, stand_in: StandIn) -> None:
    save(data)
    save(data, "same")
    answer = await stub.Classify(asking(*by_image(*pictures("red", 3, 5)), heads=["colours", "same"]))
    assert len(stand_in.submitted) == 3
    assert labels(answer, 0) == labels(answer, 1) == [["red"]] * 3


async def test_what_is_of_no_class_is_unknown_unless_that_is_not_wanted(
    data: DataFolder, stub: HeadsStub
) -> None:
    save(data)
    green = by_vector(20, 250, 20)
    (refused,) = (await stub.Classify(asking(green))).results
    assert refused.classifications[0].unknown
    assert not refused.classifications[0].labels
    assert refused.classifications[0].score > 1
    (taken,) = (await stub.Classify(asking(green, no_reject=True))).results
    assert len(taken.classifications[0].labels) == 1


async def test_a_promoted_version_answers_from_the_next_call_on(data: DataFolder, stub: HeadsStub) -> None:
    """Whoever promoted it: this server, or another process on the same folder."""
    save(data)
    save(data)
    save(data)
    assert (await stub.Classify(asking(by_vector(1, 1, 1)))).heads[0].version == 1
    info = await stub.Promote(pb.PromoteRequest(name="colours"))
    assert (info.serving, [each.version for each in info.versions]) == (3, [1, 2, 3])
    assert (await stub.Classify(asking(by_vector(1, 1, 1)))).heads[0].version == 3
    promote("colours", 2, data)
    assert (await stub.Classify(asking(by_vector(1, 1, 1)))).heads[0].version == 2
    await failing(stub.Promote(pb.PromoteRequest(name="colours", version=9)), grpc.StatusCode.NOT_FOUND)


async def test_a_head_refuses_vectors_of_another_backbone_and_names_both(
    data: DataFolder, stub: HeadsStub, stand_in: StandIn
) -> None:
    """It takes its own kind of vectors also from a server of another backbone, but no images."""
    save(data, "foreign", OTHER)
    error = await failing(
        stub.Classify(asking(*by_image(b"abc"), heads=["foreign"])), grpc.StatusCode.FAILED_PRECONDITION
    )
    assert OTHER[:12] in error.details()
    assert stand_in.fingerprint[:12] in error.details()
    assert ("penultimate-fingerprint", stand_in.fingerprint) in tuple(error.trailing_metadata())
    assert not stand_in.submitted
    red = by_vector(200, 20, 20)
    assert labels(await stub.Classify(asking(red, heads=["foreign"], fingerprint=OTHER))) == [["red"]]
    await failing(
        stub.Classify(asking(red, *by_image(b"abc"), heads=["foreign"], fingerprint=OTHER)),
        grpc.StatusCode.FAILED_PRECONDITION,
    )


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asking(heads=[]), grpc.StatusCode.INVALID_ARGUMENT),
        (asking(heads=["absent"]), grpc.StatusCode.NOT_FOUND),
        (asking(heads=["../up"]), grpc.StatusCode.INVALID_ARGUMENT),
        (asking(*[pb.HeadInput()] * 1001), grpc.StatusCode.INVALID_ARGUMENT),
        (asking(heads=["a"] * 65), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_request_that_cannot_be_answered_says_why(
    request_: pb.ClassifyRequest, code: grpc.StatusCode, stub: HeadsStub
) -> None:
    error = await failing(stub.Classify(request_), code)
    assert len(error.details()) > 20


async def test_heads_are_listed_and_described(data: DataFolder, stub: HeadsStub) -> None:
    assert not (await stub.ListHeads(pb.ListHeadsRequest())).heads
    save(data)
    save(data, "other")
    (data.heads / "broken" / "versions" / "0001").mkdir(parents=True)
    listed = (await stub.ListHeads(pb.ListHeadsRequest())).heads
    assert [head.name for head in listed] == ["colours", "other"]
    info = await stub.GetHead(pb.GetHeadRequest(name="colours"))
    (version,) = info.versions
    assert (info.serving, version.kind, list(version.classes)) == (1, "logistic", ["blue", "red"])
    assert (version.fingerprint, version.dim) == (StandIn.fingerprint, 3)
    assert '"accuracy"' in version.metrics
    await failing(stub.GetHead(pb.GetHeadRequest(name="absent")), grpc.StatusCode.NOT_FOUND)


async def test_a_fit_says_how_far_it_is_and_what_came_of_it(data: DataFolder, stub: HeadsStub) -> None:
    """The first version answers; images that cannot be used are listed; the next waits to be promoted."""
    requests = fitting_on([*coloured(), (pb.HeadInput(image=b"no image", id="bad"), "red")])
    *stages, last = await said(stub, requests)
    assert [each.stage.images for each in stages][-1] == 121
    lines = [each.stage.line for each in stages]
    assert any("cross-validation" in line for line in lines)
    choosing, fitting = lines.index("choosing the settings"), lines.index("fitting on all images")
    assert sum("logistic regression, strength" in line for line in lines[choosing:fitting]) > 3
    assert (last.fitted.version, last.fitted.head.serving) == (1, 1)
    assert [each.image for each in last.fitted.left_out] == ["bad"]
    assert labels(await stub.Classify(asking(*by_image(*pictures("blue", 2, 5))))) == [["blue"]] * 2
    second = await fitted(stub, fitting_on(coloured(), kind="ridge"))
    assert (second.version, second.head.serving) == (2, 1)
    assert "neither was fitted on" in second.against_serving
    third = await fitted(stub, fitting_on(coloured(), promote=True))
    assert (third.version, third.head.serving) == (3, 3)


async def test_a_head_is_fitted_on_vectors_of_another_backbone(data: DataFolder, stub: HeadsStub) -> None:
    rows = [(by_vector(*image), label) for label in COLOURS for image in pictures(label, 40)]
    made = await fitted(stub, fitting_on(rows, name="foreign", fingerprint=OTHER))
    assert made.head.versions[0].fingerprint == OTHER
    mixed = fitting_on([*rows, *coloured()], name="foreign", fingerprint=OTHER)
    await failing(said(stub, mixed), grpc.StatusCode.FAILED_PRECONDITION)


async def test_a_head_is_fitted_on_what_is_remembered_and_on_a_collection(
    data: DataFolder, stub: HeadsStub, stand_in: StandIn
) -> None:
    """Digests cost nothing; the labels of a collection are fitted on without anything being sent."""
    rows = [(image, label) for label in COLOURS for image in pictures(label, 40)]
    for image, _ in rows:
        stand_in.known[hashlib.sha256(image).digest()] = np.frombuffer(image, np.uint8).astype(np.float32)
    digests = [(pb.HeadInput(digest=hashlib.sha256(image).digest()), label) for image, label in rows]
    await fitted(stub, fitting_on(digests))
    assert not stand_in.submitted
    facts = {"fingerprint": stand_in.fingerprint, "dim": 3, "backbone": "stand-in"}
    with Collection.create(data, "labelled", **facts) as collection:
        collection.add(
            Item(str(at), np.frombuffer(image, np.uint8).astype(np.float32), label=label or None)
            for at, (image, label) in enumerate([*rows, (b"abc", "")])
        )
    made = await fitted(stub, fitting_on([], name="collected", collection="labelled"))
    assert made.version == 1
    assert labels(await stub.Classify(asking(by_vector(200, 20, 20), heads=["collected"]))) == [["red"]]
    await failing(said(stub, fitting_on([], collection="absent")), grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [pb.FitRequest()],
        fitting_on(coloured(), name="../up"),
        fitting_on(coloured(), name="imagenet"),
        fitting_on(coloured(), kind="oracle"),
        fitting_on(coloured(), scale="twice"),
        fitting_on(coloured(), test_size=1.5),
        fitting_on([]),
        fitting_on([(each, "red") for each, _ in coloured()]),
        fitting_on([(each, "") for each, _ in coloured()]),
    ],
)
async def test_a_fit_that_cannot_be_leaves_nothing_behind(
    requests: list[pb.FitRequest], data: DataFolder, stub: HeadsStub
) -> None:
    error = await failing(said(stub, requests), grpc.StatusCode.INVALID_ARGUMENT)
    assert len(error.details()) > 20
    assert not list(data.heads.glob("[!.]*"))


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[], threading.Event]:
    """Fits go on until they are released, saying so all the time."""
    go_on = threading.Event()

    def slow(*args: Any, note: Any, **how: Any) -> Any:
        while not go_on.wait(0.01):
            note("still at it")
        return train(*args, note=note, **how)

    monkeypatch.setattr(training, "train", slow)
    return lambda: go_on


async def test_a_caller_that_leaves_ends_its_fit(
    data: DataFolder, stub: HeadsStub, held_up: Callable[[], threading.Event]
) -> None:
    """Meanwhile another fit is refused, and told to come again; afterwards it is taken."""
    call = stub.Fit(iter(fitting_on(coloured())))
    async for message in call:
        if message.stage.line == "still at it":
            break
    error = await failing(said(stub, fitting_on(coloured())), grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    call.cancel()
    async with asyncio.timeout(PATIENCE_S):
        while not (progress := await begun(stub)):
            await asyncio.sleep(0.01)
    assert versions("colours", data) == []
    held_up().set()
    assert [message async for message in progress][-1].fitted.version == 1


async def test_a_caller_that_leaves_while_settings_are_chosen_ends_its_fit_there(
    data: DataFolder, stub: HeadsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage after that one begins."""
    stages: list[str] = []
    given_up, ended = threading.Event(), threading.Event()

    def watched(*args: Any, stage: Any, tried: Any, **how: Any) -> Any:
        def begin(name: str) -> None:
            stages.append(name)
            stage(name)

        def stay(line: str) -> None:
            while not given_up.wait(0.01):
                tried(line)

        try:
            return train(*args, stage=begin, tried=stay, **how)
        finally:
            ended.set()

    monkeypatch.setattr(training, "train", watched)
    call = stub.Fit(iter(fitting_on(coloured())))
    async for message in call:
        if "strength" in message.stage.line:
            break
    call.cancel()
    over = await asyncio.to_thread(ended.wait, PATIENCE_S)
    given_up.set()
    assert over
    assert stages == ["choosing the settings"]
    assert versions("colours", data) == []


async def begun(stub: HeadsStub) -> AsyncIterator[pb.FitProgress] | None:
    """What a new fit says, when the server takes it."""
    progress = aiter(stub.Fit(iter(fitting_on(coloured()))))
    try:
        await anext(progress)
    except grpc.aio.AioRpcError:
        return None
    return progress


async def test_drift_is_told_with_a_test_and_survives_a_restart(
    data: DataFolder, stand_in: StandIn, gauges: DriftGauges
) -> None:
    """Images of the kind that was fitted on raise no alarm; others do, and are named."""
    save(data)
    embed_numbers(stand_in)
    server = await started(stand_in, data, gauges)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = HeadsStub(channel)
        same = [image for label in COLOURS for image in pictures(label, 150, 7)]
        await stub.Classify(asking(*by_image(*same)))
        await stub.Classify(asking(*by_image(*same)))
        calm = await stub.GetDrift(pb.GetDriftRequest(name="colours"))
        assert (calm.images, calm.seen) == (300, 600)
        assert calm.distance.p_value > 0.01
        assert calm.classes.p_value > 0.01
        assert calm.unknown < 0.15
    await server.stop(grace=1)
    server = await started(stand_in, data, gauges)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = HeadsStub(channel)
        assert (await stub.GetDrift(pb.GetDriftRequest(name="colours"))).images == 300
        moved = [
            by_vector(*(np.frombuffer(each, np.uint8) * 0.5), id=f"dark {at}") for at, each in enumerate(same)
        ]
        await stub.Classify(asking(*moved, no_reject=True))
        drift = await stub.GetDrift(pb.GetDriftRequest(name="colours"))
    assert drift.distance.p_value < 1e-6
    assert drift.ratio > 1
    assert drift.unknown > drift.expected_unknown
    assert drift.unusual[0].id.startswith("dark")
    registry = CollectorRegistry()
    registry.register(gauges)
    text = generate_latest(registry).decode()
    assert 'penultimate_head_live_images{head="colours",version="1"} 600.0' in text
    assert "penultimate_head_drift_distance_p_value" in text
    await server.stop(grace=1)


async def test_nothing_is_answered_before_the_network_is_proved(
    stand_in: StandIn, data: DataFolder, gauges: DriftGauges
) -> None:
    server = Server(stand_in, "127.0.0.1:0", services=[lambda e, c: HeadsService(data, e, c, gauges)])
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = HeadsStub(channel)
        stub.address = server.address
        calls = stub.Classify(asking()), said(stub, fitting_on(coloured()))
        refused = [await failing(call, grpc.StatusCode.UNAVAILABLE) for call in calls]
    assert [each.code() for each in refused] == [grpc.StatusCode.UNAVAILABLE] * 2
    await server.stop(grace=0)
