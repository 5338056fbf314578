"""The Open Inference Protocol as tritonclient speaks it, and as nobody should."""

from __future__ import annotations

import asyncio
import hashlib
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient import grpc as triton
from tritonclient.grpc import aio, service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from extractor import errors
from extractor._pb.inference import open_inference_pb2 as pb
from extractor.client import Client
from extractor.kserve.messages import INPUT
from extractor.kserve.service import SERVICE
from extractor.results import Result
from extractor.server import Server

MODEL = "efficientnet_lite0"
WELCOME = {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}


def tensor(images: Sequence[bytes], *, column: bool = False) -> triton.InferInput:
    array = np.array([None, *images], dtype=np.object_)[1:]  # an array of bytes would lose their last zeros
    array = array.reshape(-1, 1) if column else array
    inputs = triton.InferInput(INPUT, array.shape, "BYTES")
    return inputs.set_data_from_numpy(array)


def outputs(*names: str) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name) for name in names]


def message(images: Sequence[bytes] = (b"a",), **fields: Any) -> service_pb2.ModelInferRequest:
    """A request with typed contents."""
    request = service_pb2.ModelInferRequest(model_name=MODEL, **fields)
    contents = service_pb2.InferTensorContents(bytes_contents=images)
    request.inputs.add(name=INPUT, datatype="BYTES", shape=[len(images)], contents=contents)
    return request


def status(failure: InferenceServerException) -> str:
    return str(failure.status()).removeprefix("StatusCode.")


@pytest.fixture
def client(server_address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server_address) as client:
        yield client


@pytest.fixture
def stub(server_address: str) -> Iterator[GRPCInferenceServiceStub]:
    with grpc.insecure_channel(server_address) as channel:
        yield GRPCInferenceServiceStub(channel)


def test_health_and_metadata(client: triton.InferenceServerClient, server_address: str) -> None:
    """The model is the backbone, and the embedding's tags say which vectors may be compared."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert [client.is_model_ready(MODEL, version) for version in ("", "1", "2")] == [True, True, False]
    assert not client.is_model_ready("resnet50")
    assert client.get_server_metadata().name == "penultimate"
    model = client.get_model_metadata(MODEL, as_json=True)
    assert (model["name"], model["versions"]) == (MODEL, ["1"])
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": ["-1"]}]
    assert {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in model["outputs"]} == {
        "embedding": ("FP32", ["-1", "1280"]),
        "error": ("BYTES", ["-1"]),
        "digest": ("BYTES", ["-1"]),
        "cached": ("BOOL", ["-1"]),
    }


def test_the_embeddings_tags_name_its_backbone(server_address: str) -> None:
    """Clients that know tags, as MLServer's do, see the fingerprint before they send anything."""
    with grpc.insecure_channel(server_address) as channel, Client(server_address) as extractor:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelMetadata",
            response_deserializer=pb.ModelMetadataResponse.FromString,
        )
        request = pb.ModelMetadataRequest(name=MODEL)
        (embedding, *_) = call(request.SerializeToString()).outputs
        assert embedding.tags["fingerprint"].string_param == extractor.fingerprint
        assert embedding.tags["numerics"].string_param == extractor.numerics


@pytest.mark.parametrize("column", [False, True])
def test_inference_gives_what_the_client_gives(
    client: triton.InferenceServerClient, server_address: str, pictures: list[Path], column: bool
) -> None:
    """The same numbers to the last bit, digests, and what is cached, for real pictures."""
    images = [path.read_bytes() for path in pictures]
    with Client(server_address) as extractor:
        expected = extractor.embed(images)
    result = client.infer(MODEL, [tensor(images, column=column)], request_id="a caller's")
    vectors = result.as_numpy("embedding")
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(images), 1280))
    for row, one, reason in zip(vectors, expected, result.as_numpy("error"), strict=True):
        if one.ok:
            assert np.array_equal(row, one.embedding)
            assert reason == b""
        else:
            assert np.isnan(row).all()
            assert reason.decode() == str(one.error)
    digests = [hashlib.sha256(image).digest() for image in images]
    assert list(result.as_numpy("digest")) == digests
    assert list(result.as_numpy("cached")) == [one.ok for one in expected]
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == (MODEL, "1", "a caller's")
    assert response.parameters["fingerprint"].string_param == expected[0].fingerprint


def test_typed_contents_are_as_good_as_raw_ones(
    client: triton.InferenceServerClient, stub: Any, picture: Callable[..., bytes]
) -> None:
    """Both are answered raw."""
    images = [picture(1), picture(2)]
    raw = client.infer(MODEL, [tensor(images)]).as_numpy("embedding")
    typed = triton.InferResult(stub.ModelInfer(message(images))).as_numpy("embedding")
    assert np.array_equal(raw, typed)


def test_a_bad_image_has_a_row_of_nan_and_a_reason(
    client: triton.InferenceServerClient, picture: Callable[..., bytes]
) -> None:
    """Its neighbours have what they have without it, in their own rows."""
    good, other = picture(3), picture(4)
    alone = client.infer(MODEL, [tensor([good, other])]).as_numpy("embedding")
    result = client.infer(MODEL, [tensor([good, b"no picture", b"", other])])
    vectors, reasons = result.as_numpy("embedding"), result.as_numpy("error")
    assert np.array_equal(vectors[[0, 3]], alone)
    assert np.isnan(vectors[[1, 2]]).all()
    assert [bool(reason) for reason in reasons] == [False, True, True, False]
    assert result.get_response().parameters["failed"].int64_param == 2


def test_who_asks_for_embeddings_alone_gets_them_alone(
    client: triton.InferenceServerClient, picture: Callable[..., bytes]
) -> None:
    """In the order of the request, and how many failed is said all the same."""
    result = client.infer(
        MODEL, [tensor([b"no picture", picture(5)])], outputs=outputs("cached", "embedding")
    )
    assert [output.name for output in result.get_response().outputs] == ["cached", "embedding"]
    assert [bool(np.isnan(row).all()) for row in result.as_numpy("embedding")] == [True, False]
    assert result.get_response().parameters["failed"].int64_param == 1


@pytest.mark.parametrize("images", [[], [b"no picture"], [b"", b"\0", b"GIF89a"]])
def test_a_request_without_one_good_image_is_answered(
    client: triton.InferenceServerClient, images: list[bytes]
) -> None:
    """Every row of it is NaN."""
    result = client.infer(MODEL, [tensor(images)])
    assert result.as_numpy("embedding").shape == (len(images), 1280)
    assert np.isnan(result.as_numpy("embedding")).all()
    assert all(result.as_numpy("error"))


def test_half_precision_and_unit_length_on_request(
    client: triton.InferenceServerClient, stub: Any, picture: Callable[..., bytes]
) -> None:
    """As a parameter of the request, or of the output."""
    images = [picture(6), b"no picture", picture(7)]
    plain = client.infer(MODEL, [tensor(images)]).as_numpy("embedding")
    half = client.infer(MODEL, [tensor(images)], parameters={"datatype": "FP16"}).as_numpy("embedding")
    assert half.dtype == np.float16
    assert np.array_equal(half, plain.astype(np.float16), equal_nan=True)
    request = message(images)
    wanted = request.outputs.add(name="embedding")
    wanted.parameters["unit_length"].bool_param = True
    unit = triton.InferResult(stub.ModelInfer(request)).as_numpy("embedding")
    assert np.allclose(np.linalg.norm(unit[[0, 2]], axis=1), 1, atol=1e-6)
    assert np.allclose(unit[0] * np.linalg.norm(plain[0]), plain[0], rtol=1e-5)
    assert np.isnan(unit[1]).all()


def edited(edit: Callable[[service_pb2.ModelInferRequest], Any]) -> service_pb2.ModelInferRequest:
    """A good request, spoiled."""
    request = message([b"a", b"b"])
    edit(request)
    return request


def raw(*contents: bytes, shape: Sequence[int] = (2,)) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=contents)
    request.inputs.add(name=INPUT, datatype="BYTES", shape=shape)
    return request


WRONG = {
    "another model": (edited(lambda r: setattr(r, "model_name", "resnet50")), "NOT_FOUND", "'resnet50'"),
    "another version": (edited(lambda r: setattr(r, "model_version", "2")), "NOT_FOUND", "version '2'"),
    "no input": (edited(lambda r: r.ClearField("inputs")), "INVALID_ARGUMENT", "request has []"),
    "two inputs": (edited(lambda r: r.inputs.append(r.inputs[0])), "INVALID_ARGUMENT", "['image', 'image']"),
    "another input": (edited(lambda r: setattr(r.inputs[0], "name", "x")), "INVALID_ARGUMENT", "['x']"),
    "pixels": (edited(lambda r: setattr(r.inputs[0], "datatype", "UINT8")), "INVALID_ARGUMENT", "'UINT8'"),
    "no shape": (edited(lambda r: r.inputs[0].ClearField("shape")), "INVALID_ARGUMENT", "[]"),
    "a wide shape": (edited(lambda r: r.inputs[0].shape.append(2)), "INVALID_ARGUMENT", "[2, 2]"),
    "a long shape": (edited(lambda r: r.inputs[0].shape.extend([1] * 9)), "INVALID_ARGUMENT", "[2, 1, 1"),
    "a negative shape": (raw(b"", shape=[-1]), "INVALID_ARGUMENT", "[-1]"),
    "too many images": (raw(b"\0" * 4 * 1025, shape=[1025]), "INVALID_ARGUMENT", "1025 images"),
    "more images than anybody has": (raw(b"", shape=[2**62]), "INVALID_ARGUMENT", "split it"),
    "fewer typed images": (
        edited(lambda r: r.inputs[0].shape.__setitem__(0, 3)),
        "INVALID_ARGUMENT",
        "with 2",
    ),
    "no contents": (raw(), "INVALID_ARGUMENT", "with 0"),
    "fewer raw images": (raw(b"\1\0\0\0a"), "INVALID_ARGUMENT", "only 1"),
    "an image cut short": (raw(b"\1\0\0\0a\2\0\0\0b"), "INVALID_ARGUMENT", "element 1 of 'image'"),
    "raw contents twice": (raw(b"", b""), "INVALID_ARGUMENT", "once"),
    "raw and typed": (edited(lambda r: r.raw_input_contents.append(b"")), "INVALID_ARGUMENT", "once"),
    "another output": (edited(lambda r: r.outputs.add(name="logits")), "INVALID_ARGUMENT", "'logits'"),
    "an output twice": (
        edited(lambda r: r.outputs.extend([r.outputs.add(name="error")])),
        "INVALID_ARGUMENT",
        "twice",
    ),
    "an unknown parameter": (
        edited(lambda r: setattr(r.parameters["unit_lenght"], "bool_param", True)),
        "INVALID_ARGUMENT",
        "'unit_lenght'",
    ),
    "a parameter of another type": (
        edited(lambda r: setattr(r.parameters["unit_length"], "string_param", "yes")),
        "INVALID_ARGUMENT",
        "'unit_length' has type bool",
    ),
    "an empty parameter": (
        edited(lambda r: r.parameters["datatype"].SetInParent()),
        "INVALID_ARGUMENT",
        "'datatype' has type str",
    ),
    "a truth for a time": (
        edited(lambda r: setattr(r.parameters["timeout"], "bool_param", True)),
        "INVALID_ARGUMENT",
        "'timeout' has type int, and is not True",
    ),
    "a time before now": (
        edited(lambda r: setattr(r.parameters["timeout"], "int64_param", -1)),
        "INVALID_ARGUMENT",
        "from 0 microseconds, not -1",
    ),
    "another number": (
        edited(lambda r: setattr(r.parameters["datatype"], "string_param", "FP64")),
        "INVALID_ARGUMENT",
        "'FP64'",
    ),
    "another backbone": (
        edited(lambda r: setattr(r.parameters["fingerprint"], "string_param", "cd" * 32)),
        "FAILED_PRECONDITION",
        "cdcdcdcdcdcd",
    ),
    "a name without end": (edited(lambda r: setattr(r, "model_name", "x" * 10**6)), "NOT_FOUND", "..."),
}


@pytest.mark.parametrize(("request_", "code", "sentence"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused(
    stub: Any, request_: service_pb2.ModelInferRequest, code: str, sentence: str
) -> None:
    """In one sentence that says what is wrong, and never as the server's own fault."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request_)
    assert (caught.value.code().name, "\n" in caught.value.details()) == (code, False)
    assert sentence in caught.value.details()


def test_what_only_a_scheduler_needs_is_passed_over(client: triton.InferenceServerClient) -> None:
    """Priorities and sequences have no meaning here, but are no mistake."""
    inference = client.infer(MODEL, [tensor([b""])], priority=1, sequence_id=7)
    assert inference.as_numpy("embedding").shape == (1, 1280)


def test_a_request_has_a_timeout_of_its_own(
    client: triton.InferenceServerClient, picture: Callable[..., bytes]
) -> None:
    """In microseconds: an image whose turn comes later is not begun, and its row says so."""
    for timeout, in_time in ((60 * 10**6, True), (1, False)):
        result = client.infer(MODEL, [tensor([picture(9 + timeout)])], timeout=timeout)
        assert np.isfinite(result.as_numpy("embedding")).all() == in_time
        assert (b"deadline" in result.as_numpy("error")[0]) != in_time


def test_another_models_metadata_is_not_found(client: triton.InferenceServerClient) -> None:
    """Nor another version's."""
    for model, version in (("resnet50", ""), (MODEL, "2")):
        with pytest.raises(InferenceServerException) as caught:
            client.get_model_metadata(model, version)
        assert status(caught.value) == "NOT_FOUND"


def test_the_backbone_that_the_caller_has_is_answered(
    client: triton.InferenceServerClient, server_address: str
) -> None:
    """Its fingerprint changes nothing."""
    with Client(server_address) as extractor:
        same = {"fingerprint": extractor.fingerprint}
    assert client.infer(MODEL, [tensor([b""])], parameters=same).as_numpy("embedding").shape == (1, 1280)


def answer(call: Callable[[bytes], bytes], request: bytes) -> str:
    try:
        call(request)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_no_bytes_harm_the_server(server_address: str, picture: Callable[..., bytes]) -> None:
    """Tensors and messages of anything are answered or refused, and then a good one is answered."""
    with grpc.insecure_channel(server_address) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")

        @settings(max_examples=150, deadline=None)
        @given(st.binary(max_size=64), st.lists(st.integers(-1, 3), max_size=3))
        def tensors(contents: bytes, shape: list[int]) -> None:
            assert answer(infer, raw(contents, shape=shape).SerializeToString()) in WELCOME

        @settings(max_examples=150, deadline=None)
        @given(st.integers(0, 60), st.binary(max_size=20))
        def messages(at: int, noise: bytes) -> None:
            good = raw(b"\1\0\0\0a\0\0\0\0").SerializeToString()
            assert answer(infer, good[:at] + noise + good[at:]) in WELCOME

        @settings(max_examples=50, deadline=None)
        @given(st.binary(max_size=100))
        def noise(bytes_: bytes) -> None:
            assert answer(infer, bytes_) in WELCOME

        tensors()
        messages()
        noise()
    with triton.InferenceServerClient(server_address) as client:
        assert np.isfinite(client.infer(MODEL, [tensor([picture(8)])]).as_numpy("embedding")).all()


def test_a_stream_answers_every_request_in_order(
    client: triton.InferenceServerClient, picture: Callable[..., bytes]
) -> None:
    """One that is wrong has its own error, and those after it are answered."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(40):
        model = "resnet50" if number == 20 else MODEL
        client.async_stream_infer(model, [tensor([picture(number)])], request_id=str(number))
    received = [answers.get(timeout=60) for _ in range(40)]
    client.stop_stream()
    assert "NOT_FOUND" in str(received[20][1])
    results = [result for result, error in received if error is None]
    assert [result.get_response().id for result in results] == [str(n) for n in range(40) if n != 20]
    assert all(np.isfinite(result.as_numpy("embedding")).all() for result in results)


async def test_the_asyncio_client_works_as_well(server_address: str, picture: Callable[..., bytes]) -> None:
    """Its calls, many at once, and its stream."""
    async with aio.InferenceServerClient(server_address) as client:
        assert await client.is_model_ready(MODEL)
        images = [picture(number) for number in range(12)]
        at_once = await asyncio.gather(*(client.infer(MODEL, [tensor([image])]) for image in images))

        async def requests() -> Any:
            for image in images:
                yield {"model_name": MODEL, "inputs": [tensor([image])]}

        streamed = [result async for result, error in client.stream_infer(requests()) if not error]
        for one, other in zip(at_once, streamed, strict=True):
            assert np.array_equal(one.as_numpy("embedding"), other.as_numpy("embedding"))


def test_reflection_and_health_know_the_service(server_address: str) -> None:
    """Beside the Extractor; its contract is described to tools that have none."""
    with grpc.insecure_channel(server_address) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        assert SERVICE in known.get_services()
        described = known.FindFileContainingSymbol(SERVICE).service[0]
        assert "ModelInfer" in [method.name for method in described.method]
        reply = HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
async def triton_client(cold_server: Server) -> Any:
    """Calls our server over the stand-in, in this process, before its warm-up."""
    async with aio.InferenceServerClient(cold_server.address) as client:
        yield client


async def failure(call: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        await call
    return caught.value


async def test_before_the_warm_up_the_server_is_live_and_not_ready(
    cold_server: Server, triton_client: aio.InferenceServerClient, stand_in: Any
) -> None:
    """As its health says; nothing is embedded."""
    assert await triton_client.is_server_live()
    assert not await triton_client.is_server_ready()
    assert not await triton_client.is_model_ready("stand-in")
    assert status(await failure(triton_client.infer("stand-in", [tensor([b"a"])]))) == "UNAVAILABLE"
    assert not stand_in.submitted
    await cold_server.warm()
    assert await triton_client.is_server_ready()
    assert await triton_client.is_model_ready("stand-in")
    result = await triton_client.infer("stand-in", [tensor([b"a", b"bcd"])])
    assert result.as_numpy("embedding").tolist() == [[1, 1, 1], [3, 3, 3]]


async def test_readiness_follows_health(
    cold_server: Server, triton_client: aio.InferenceServerClient
) -> None:
    """What ends the standard health ends this, and its return brings it back."""
    await cold_server.warm()
    for trouble in ("the network does not answer", ""):
        await cold_server._health.tell(trouble)
        ready = [await triton_client.is_server_ready(), await triton_client.is_model_ready("stand-in")]
        assert ready == [not trouble, not trouble]
        assert await triton_client.is_server_live()


async def test_a_full_server_refuses_the_call(
    cold_server: Server, triton_client: aio.InferenceServerClient, stand_in: Any
) -> None:
    """With the status that says so, and nothing of the call is begun."""
    await cold_server.warm()

    def on_submit(image: bytes, future: Future[Result]) -> None:
        if image == b"last":
            raise errors.Overloaded("full", retry_after=0.5)

    stand_in.on_submit = on_submit
    error = await failure(triton_client.infer("stand-in", [tensor([b"first", b"last"])]))
    assert (status(error), error.message()) == ("RESOURCE_EXHAUSTED", "full")
    assert not stand_in.submitted


async def test_stopping_finishes_what_was_accepted(
    cold_server: Server, triton_client: aio.InferenceServerClient, stand_in: Any
) -> None:
    """The server is not ready any more, and still answers."""
    await cold_server.warm()
    stand_in.on_submit = lambda image, future: None
    call = asyncio.ensure_future(triton_client.infer("stand-in", [tensor([b"a"])]))
    while not stand_in.submitted:
        await asyncio.sleep(0)
    stopping = asyncio.ensure_future(cold_server.stop(grace=60))
    while await triton_client.is_server_ready():
        pass
    assert not stopping.done()
    stand_in.settle(stand_in.submitted[0], 1)
    assert (await call).as_numpy("embedding").tolist() == [[1, 1, 1]]
    await asyncio.wait_for(stopping, 60)
