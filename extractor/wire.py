"""Messages to values and back; errors to status codes and back, in one table."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from extractor import errors
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.caches import Row
from extractor.errors import PenultimateError
from extractor.results import Result, Timings, Vector
from extractor.settings import MAX_MESSAGE_BYTES

M = TypeVar("M", bound=Message)

FINGERPRINT = "penultimate-fingerprint"
"""The trailer that names the server's backbone when the caller wants another."""

PUSHBACK = "grpc-retry-pushback-ms"
"""The trailer by which clients, and gRPC's own retries, know when to try again."""

REQUEST_ID = "penultimate-request-id"
"""The header by which a caller may name its call, and the trailer that says how the server names it."""

DETAILS = "grpc-status-details-bin"
"""The trailer that holds a google.rpc.Status, where another try is sensible."""

SIZE = "penultimate-request-bytes"
"""The header by which a caller may say how large its request is, so that room for it is found sooner."""

MESSAGE_LIMITS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
]

# The first row that fits decides, in either direction; what is not listed is our own fault.
_STATUS: list[tuple[type[PenultimateError], grpc.StatusCode]] = [
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.InvalidImage, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FingerprintMismatch, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.DamagedFile, grpc.StatusCode.DATA_LOSS),
    (errors.Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
]

# A server that stops cancels the calls it has not finished.
_PASSING = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

# What is wrong with one image; leaves stand before their base.
_CODES: list[tuple[type[PenultimateError], pb.ImageError.Code]] = [
    (errors.ImageTooLarge, pb.ImageError.IMAGE_TOO_LARGE),
    (errors.UnsupportedFormat, pb.ImageError.UNSUPPORTED_FORMAT),
    (errors.InvalidImage, pb.ImageError.INVALID_IMAGE),
    (errors.DeadlineExceeded, pb.ImageError.DEADLINE_EXCEEDED),
]


# What stands before the length of each of a request's images: their field, and that they are bytes.
_IMAGES_TAG = bytes([pb.EmbedRequest.IMAGES_FIELD_NUMBER << 3 | 2])

# How the numbers of a vector lie in its bytes.
_NUMBERS = {pb.VectorForm.NUMBER_UNSPECIFIED: "<f4", pb.VectorForm.FLOAT16: "<f2"}


@dataclass(frozen=True, slots=True)
class Info:
    """What a server serves, and on what.

    Attributes
    ----------
    version : str
        The server's.
    backbone, fingerprint : str
        The network's name, and what says which vectors may be compared.
    dim : int
        The embedding's width.
    numerics : str
        Provider and precision, such as `cpu/fp32`.
    input_size : tuple of int
        Height and width of the network's input in pixels.
    message_bytes, items_per_call, image_bytes, image_pixels : int
        What the server accepts at most.
    batch_size, parallel_runs : int
        Images in one run of the network at most, and runs at a time.
    golden_cosine : float
        The smallest cosine of its golden test.
    """

    version: str
    backbone: str
    fingerprint: str
    dim: int
    numerics: str
    input_size: tuple[int, int]
    message_bytes: int
    items_per_call: int
    image_bytes: int
    image_pixels: int
    batch_size: int
    parallel_runs: int
    golden_cosine: float


def pack_info(info: Info) -> pb.GetInfoResponse:
    """The message that says `info`."""
    return pb.GetInfoResponse(
        version=info.version,
        backbone=info.backbone,
        fingerprint=info.fingerprint,
        dim=info.dim,
        numerics=info.numerics,
        input_height=info.input_size[0],
        input_width=info.input_size[1],
        limits=pb.Limits(
            message_bytes=info.message_bytes,
            items_per_call=info.items_per_call,
            image_bytes=info.image_bytes,
            image_pixels=info.image_pixels,
        ),
        batch_size=info.batch_size,
        parallel_runs=info.parallel_runs,
        golden_cosine=info.golden_cosine,
    )


def unpack_info(message: pb.GetInfoResponse) -> Info:
    """What `pack_info` packed."""
    return Info(
        version=message.version,
        backbone=message.backbone,
        fingerprint=message.fingerprint,
        dim=message.dim,
        numerics=message.numerics,
        input_size=(message.input_height, message.input_width),
        message_bytes=message.limits.message_bytes,
        items_per_call=message.limits.items_per_call,
        image_bytes=message.limits.image_bytes,
        image_pixels=message.limits.image_pixels,
        batch_size=message.batch_size,
        parallel_runs=message.parallel_runs,
        golden_cosine=message.golden_cosine,
    )


def check_form(form: pb.VectorForm) -> None:
    """Raise InvalidArgument for a kind of number that is not known here."""
    if form.number not in _NUMBERS:
        known = ", ".join(pb.VectorForm.Number.keys())
        raise errors.InvalidArgument(
            f"form.number is {form.number}, which this server does not know ({known})"
        )


def pack_images(images: Iterable[bytes], fingerprint: str, form: pb.VectorForm | None) -> bytes:
    """An EmbedRequest as it travels.

    Written piece by piece, as protobuf allows for whatever fields come in
    whatever order: a message object would hold every image a second time, and
    give its memory back to the system after each request.
    """
    pieces = [pb.EmbedRequest(fingerprint=fingerprint, form=form).SerializeToString()]
    for image in images:
        pieces += _IMAGES_TAG, _varint(len(image)), image
    return b"".join(pieces)


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first; the last is below 128."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def pack_results(
    results: Iterable[Result], fingerprint: str, numerics: str, dim: int, form: pb.VectorForm
) -> pb.EmbedResponse:
    """The message that answers one request, with vectors of the form it asked for."""
    return pb.EmbedResponse(
        fingerprint=fingerprint,
        numerics=numerics,
        dim=dim,
        results=[_pack_result(result, form) for result in results],
        form=form,
    )


def unpack_results(message: pb.EmbedResponse, count: int) -> list[Result]:
    """The results in an answer.

    Parameters
    ----------
    message : EmbedResponse
    count : int
        How many images were sent.

    Raises
    ------
    InternalError
        When it does not hold `count` results of `dim` numbers.
    """
    if len(message.results) != count:
        raise errors.InternalError(f"the server answered {count} images with {len(message.results)} results")
    number = _number(message.form)
    return [_unpack_result(result, message.fingerprint, message.dim, number) for result in message.results]


def pack_rows(
    rows: Sequence[Row | None], fingerprint: str, dim: int, form: pb.VectorForm
) -> pb.LookupResponse:
    """The message that says what is remembered, in the form that was asked for."""
    return pb.LookupResponse(
        fingerprint=fingerprint,
        dim=dim,
        embeddings=[b"" if row is None else vector_bytes(row.vector, form) for row in rows],
        numerics=["" if row is None else row.numerics for row in rows],
        form=form,
    )


def unpack_rows(message: pb.LookupResponse, count: int) -> list[Row | None]:
    """What `pack_rows` packed; errors as in `unpack_results`."""
    if len(message.embeddings) != count:
        raise errors.InternalError(f"the server answered {count} digests with {len(message.embeddings)}")
    number, dim = _number(message.form), message.dim
    numerics = message.numerics if len(message.numerics) == count else [""] * count
    return [
        Row(what, _vector(data, dim, number)) if data else None
        for what, data in zip(numerics, message.embeddings, strict=True)
    ]


def parse(kind: type[M], data: bytes) -> M:
    """The message in `data`.

    Raises
    ------
    InvalidArgument
        When it holds something else.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        raise errors.InvalidArgument(
            f"the request's {len(data):,} bytes are no {kind.DESCRIPTOR.full_name}: "
            f"generate the caller's code from {kind.DESCRIPTOR.file.name.replace('extractor/_pb', 'proto')}"
        ) from None


def said_size(headers: Mapping[str, str], otherwise: int) -> int:
    """The request's size as its header says, or `otherwise`."""
    said = headers.get(SIZE, "")
    return min(int(said), MAX_MESSAGE_BYTES) if said.isdecimal() and len(said) < 12 else otherwise


def status_of(error: PenultimateError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """How a call fails because of `error`: code, details and trailers."""
    code = next((code for kind, code in _STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    if isinstance(error, errors.Overloaded):
        trailers = _come_again(code, str(error), round(error.retry_after * 1000))
    elif isinstance(error, errors.FingerprintMismatch):
        trailers = ((FINGERPRINT, error.expected),)
    return code, str(error), trailers


@functools.lru_cache(maxsize=256)  # who would be late is refused in the same few words, many times a second
def _come_again(code: grpc.StatusCode, why: str, milliseconds: int) -> tuple[tuple[str, str | bytes], ...]:
    """When another try is sensible, as gRPC's clients know it and as Google's APIs say it."""
    info = RetryInfo(retry_delay=Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 10**6))
    status = Status(code=code.value[0], message=why)
    status.details.add().Pack(info)
    return (PUSHBACK, str(milliseconds)), (DETAILS, status.SerializeToString())


def error_of(failure: grpc.RpcError, address: str, fingerprint: str = "") -> PenultimateError:
    """Why a call failed.

    Parameters
    ----------
    failure : grpc.RpcError
        From a blocking or an asyncio call.
    address : str
        Where the server should be.
    fingerprint : str
        The backbone whose vectors the caller has so far, if any.
    """
    code, details, trailers = failure.code(), failure.details() or "", _trailers(failure)
    if _too_large(failure):
        return errors.InvalidArgument(f"a request to {address} was too large for it or on its way: {details}")
    match code:
        case grpc.StatusCode.FAILED_PRECONDITION:
            return errors.FingerprintMismatch(
                f"what came from {address} so far",
                expected=trailers.get(FINGERPRINT, "unknown"),
                found=fingerprint,
                advice="The server was started with another backbone: open a new client to use that one",
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return errors.Overloaded(details, 1.0 if (said := _said_pause(failure)) is None else said)
        case grpc.StatusCode.UNAVAILABLE:
            # gRPC puts much before the reason when there is nobody
            reason = details.rpartition(": ")[2] if details.startswith("failed to connect") else details
            return errors.Unavailable(
                f"no answer from {address} ({reason}): start a server with "
                f"`penultimate serve --address {address}`, or wait until it has started"
            )
        case grpc.StatusCode.CANCELLED:
            return errors.Unavailable(f"the call to {address} was cancelled")
        case grpc.StatusCode.UNIMPLEMENTED:
            return errors.Unavailable(f"what listens on {address} is another service ({details})")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineExceeded(f"no answer from {address} in time: allow a longer `timeout`")
    kind = next((kind for kind, known in _STATUS if known is code), errors.InternalError)
    return kind(details or f"{address} answered {code}")


def pause(failure: grpc.RpcError, tries: int) -> float | None:
    """Seconds to wait before a call that failed is worth another try; None when none is.

    What the server asks for and up to a quarter more, or else twice as long
    each time: callers that failed together shall not come again together.
    """
    if failure.code() not in _PASSING or _too_large(failure):
        return None
    said = _said_pause(failure)
    seconds = min(0.1 * 2**tries, 2.0) if said is None else said
    return seconds * random.uniform(1, 1.25) if seconds >= 0 else None


def _said_pause(failure: grpc.RpcError) -> float | None:
    """Seconds after which the server wants to be asked again, said either way; negative for never."""
    trailers: Any = failure.trailing_metadata() or ()
    said: dict[str, Any] = dict(trailers)
    with suppress(ValueError, DecodeError):
        if PUSHBACK in said:
            return float(said[PUSHBACK]) / 1000
        for detail in Status.FromString(said.get(DETAILS, b"")).details:
            info = RetryInfo()
            if detail.Unpack(info):
                return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _too_large(failure: grpc.RpcError) -> bool:
    """Whether gRPC itself refused a message for its size: for that it has the status of a full queue."""
    return failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (
        failure.details() or ""
    )


def _trailers(failure: grpc.RpcError) -> dict[str, str]:
    pairs: Any = failure.trailing_metadata() or ()  # of another type in each of gRPC's two worlds
    return {key: str(value) for key, value in pairs}


def _pack_result(result: Result, form: pb.VectorForm) -> pb.ImageResult:
    digest, timings = result.digest or b"", _pack_timings(result.timings)
    if result.embedding is not None:
        return pb.ImageResult(
            digest=digest,
            embedding=vector_bytes(result.embedding, form),
            cached=result.cached,
            numerics=result.numerics,
            timings=timings,
        )
    error = result.error or errors.InternalError("no vector and no reason")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), pb.ImageError.INTERNAL)
    return pb.ImageResult(digest=digest, error=pb.ImageError(code=code, reason=str(error)), timings=timings)


def _pack_timings(timings: Timings | None) -> pb.Timings | None:
    if timings is None:
        return None
    return pb.Timings(
        waiting_ms=1e3 * timings.waiting,
        decode_ms=1e3 * timings.decode,
        queue_ms=1e3 * timings.queue,
        inference_ms=1e3 * timings.inference,
        total_ms=1e3 * timings.total,
        batch_size=timings.batch_size,
    )


def _unpack_result(message: pb.ImageResult, fingerprint: str, dim: int, number: str) -> Result:
    digest, timings = message.digest or None, _unpack_timings(message.timings)
    if message.HasField("error"):
        return Result(None, _unpack_error(message.error), digest, False, fingerprint, "", timings)
    vector = _vector(message.embedding, dim, number)
    return Result(vector, None, digest, message.cached, fingerprint, message.numerics, timings)


def _unpack_timings(message: pb.Timings) -> Timings:
    return Timings(
        waiting=message.waiting_ms / 1e3,
        decode=message.decode_ms / 1e3,
        queue=message.queue_ms / 1e3,
        inference=message.inference_ms / 1e3,
        total=message.total_ms / 1e3,
        batch_size=message.batch_size,
    )


def _unpack_error(message: pb.ImageError) -> PenultimateError:
    kind = next((kind for kind, code in _CODES if code == message.code), errors.InternalError)
    return kind(message.reason)


def _number(form: pb.VectorForm) -> str:
    try:
        return _NUMBERS[form.number]
    except KeyError:
        raise errors.InternalError(
            f"the server's vectors are of a kind {form.number}, unknown here"
        ) from None


def vector_bytes(vector: Vector, form: pb.VectorForm) -> bytes:
    """The numbers of a vector, in the form that was asked for."""
    if form.unit_length and (length := float(np.linalg.norm(vector))):
        vector = vector / np.float32(length)
    if form.number == pb.VectorForm.NUMBER_UNSPECIFIED:
        return vector.astype("<f4", copy=False).tobytes()
    with np.errstate(over="ignore"):  # the contract says what becomes of numbers beyond float16
        return vector.astype(_NUMBERS[form.number], copy=False).tobytes()


def _vector(data: bytes, dim: int, number: str) -> Vector:
    if len(data) != np.dtype(number).itemsize * dim:
        raise errors.InternalError(f"a vector of {dim} numbers ({number}) came as {len(data)} bytes")
    vector = np.frombuffer(data, dtype=number).astype(np.float32, copy=False)
    vector.flags.writeable = False  # as an embedder's, which its cache shares with all callers
    return vector
