"""Messages and status codes say what the values and errors said."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from extractor import errors, wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1 import penultimate_pb2_grpc
from extractor.caches import Row
from extractor.errors import PenultimateError
from extractor.results import Result, Timings

ROOT = Path(__file__).parents[2]
PLAIN = pb.VectorForm()
IMAGE_ERRORS = (errors.InvalidImage, errors.UnsupportedFormat, errors.ImageTooLarge)


class Failure(grpc.RpcError):
    """What a client gets when a call ends with a status."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: trailers


def call_errors() -> Iterator[PenultimateError]:
    """One of every kind, but for those that travel in an image's result."""
    kinds = list(PenultimateError.__subclasses__())
    while kinds:
        kind = kinds.pop()
        kinds += [each for each in kind.__subclasses__() if not each.__name__.startswith("_")]
        if issubclass(kind, errors.InvalidImage):
            continue
        if kind is errors.FingerprintMismatch:
            yield kind("the head", expected="a" * 64, found="b" * 64)
        else:
            yield kind("what was wrong")


@pytest.mark.parametrize("error", list(call_errors()), ids=lambda error: type(error).__name__)
def test_every_error_arrives_as_it_was_raised(error: PenultimateError) -> None:
    """A call that fails by an error of the tree fails by the same error at the client."""
    failure = Failure(*wire.status_of(error))
    assert type(wire.error_of(failure, "host:1", "b" * 64)) is type(error)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_becomes_an_error_of_the_tree(code: grpc.StatusCode) -> None:
    """Whatever status a server or a proxy gives, the client raises a PenultimateError."""
    assert isinstance(wire.error_of(Failure(code, ""), "host:1"), PenultimateError)


def test_an_overloaded_server_says_when_to_try_again() -> None:
    """`retry_after` arrives, by the trailer that gRPC's own retries obey."""
    failure = Failure(*wire.status_of(errors.Overloaded("full", retry_after=2.5)))
    assert dict(failure.trailing_metadata())["grpc-retry-pushback-ms"] == "2500"
    error = wire.error_of(failure, "host:1")
    assert isinstance(error, errors.Overloaded)
    assert error.retry_after == 2.5


def test_an_overloaded_server_says_so_in_googles_words_too() -> None:
    """The status's details hold a RetryInfo, as clients of other services expect."""
    code, details, trailers = wire.status_of(errors.Overloaded("full", retry_after=2.5))
    status = Status.FromString(dict(trailers)["grpc-status-details-bin"])
    assert (status.code, status.message) == (code.value[0], details)
    (detail,) = status.details
    info = RetryInfo()
    assert detail.Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 2500


@pytest.mark.parametrize(
    ("code", "details", "trailers", "bounds"),
    [
        (grpc.StatusCode.UNAVAILABLE, "gone", (), (0.1, 0.125)),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (("grpc-retry-pushback-ms", "4000"),), (4, 5)),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (("grpc-retry-pushback-ms", "-1"),), None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (2 vs. 1)", (), None),
        (grpc.StatusCode.UNIMPLEMENTED, "another service", (), None),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", (), None),
    ],
)
def test_what_is_worth_another_try_and_when(code: Any, details: str, trailers: Any, bounds: Any) -> None:
    """Only what passes, never before the server's hint, and with some spread."""
    pause = wire.pause(Failure(code, details, trailers), tries=0)
    assert (pause is None) == (bounds is None)
    assert pause is None or bounds[0] <= pause <= bounds[1]


def test_pauses_grow_to_a_bound() -> None:
    """Where the server gives no hint."""
    gone = Failure(grpc.StatusCode.UNAVAILABLE, "gone")
    assert 0.8 <= wire.pause(gone, tries=3) <= 1
    assert 2 <= wire.pause(gone, tries=1000) <= 2.5


def test_a_mismatch_names_both_fingerprints() -> None:
    """The client's error has its own fingerprint and the server's."""
    raised = errors.FingerprintMismatch("the caller's", expected="a" * 64, found="b" * 64)
    error = wire.error_of(Failure(*wire.status_of(raised)), "host:1", "b" * 64)
    assert isinstance(error, errors.FingerprintMismatch)
    assert (error.expected, error.found) == ("a" * 64, "b" * 64)


@pytest.mark.parametrize("kind", [*IMAGE_ERRORS, errors.DeadlineExceeded, errors.InternalError])
def test_an_image_error_keeps_its_kind_and_reason(kind: type[PenultimateError]) -> None:
    """What was wrong with one image arrives in its result."""
    sent = Result(None, kind("what was wrong"), b"d" * 32, False, "f")
    (got,) = wire.unpack_results(wire.pack_results([sent], "f", "cpu/fp32", 3, PLAIN), 1)
    assert type(got.error) is kind
    assert str(got.error) == "what was wrong"
    assert got.digest == b"d" * 32
    assert not got.ok


def test_every_code_has_an_error() -> None:
    """Each code of the contract is some error's, and a code of a later version is an internal error."""
    for code in (*pb.ImageError.Code.values(), 99):
        message = pb.ImageResult(error=pb.ImageError(code=code, reason="why"))
        (result,) = wire.unpack_results(pb.EmbedResponse(results=[message]), 1)
        known = code in (
            pb.ImageError.INVALID_IMAGE,
            pb.ImageError.IMAGE_TOO_LARGE,
            pb.ImageError.UNSUPPORTED_FORMAT,
        )
        late = code == pb.ImageError.DEADLINE_EXCEEDED
        otherwise = errors.DeadlineExceeded if late else errors.InternalError
        assert isinstance(result.error, errors.InvalidImage if known else otherwise)


@given(arrays(np.float32, (2, 5)))
def test_vectors_arrive_bit_by_bit(vectors: np.ndarray) -> None:
    """Infinities, NaNs and signs of zero included; what arrives cannot be changed in place."""
    sent = [Result(row, None, b"d" * 32, True, "f") for row in vectors]
    got = wire.unpack_results(wire.pack_results(sent, "f", "cpu/fp32", 5, PLAIN), 2)
    for row, result in zip(vectors, got, strict=True):
        assert result.embedding is not None
        assert result.embedding.tobytes() == row.tobytes()
        assert not result.embedding.flags.writeable
        assert result.cached
        assert result.fingerprint == "f"


def test_half_precision_halves_the_bytes() -> None:
    """Each number rounded once; what is beyond float16 becomes infinite."""
    sent = Result(np.float32([0.1, -2, 70_000]), None, b"d" * 32, False, "f", "cpu/fp32")
    half = pb.VectorForm(number=pb.VectorForm.FLOAT16)
    message = wire.pack_results([sent], "f", "cpu/fp32", 3, half)
    assert len(message.results[0].embedding) == 6
    (got,) = wire.unpack_results(message, 1)
    assert got.embedding.dtype == np.float32
    assert got.embedding.tolist() == [np.float32(np.float16(0.1)), -2, np.inf]


def test_unit_length_is_made_on_request() -> None:
    """Also of rows that are remembered; a vector of zeros stays."""
    form = pb.VectorForm(unit_length=True)
    vectors = [np.float32([3, 0, 4]), np.zeros(3, np.float32)]
    sent = [Result(vector, None, None, False, "f") for vector in vectors]
    long, zero = wire.unpack_results(wire.pack_results(sent, "f", "n", 3, form), 2)
    np.testing.assert_allclose(long.embedding, [0.6, 0, 0.8])
    assert not zero.embedding.any()
    (row,) = wire.unpack_rows(wire.pack_rows([Row("n", vectors[0])], "f", 3, form), 1)
    np.testing.assert_allclose(row.vector, [0.6, 0, 0.8])


def test_a_form_that_is_unknown_is_said_on_either_side() -> None:
    """A kind of number of a later version is never taken for float32."""
    form = pb.VectorForm(number=99)
    with pytest.raises(errors.InvalidArgument, match="99"):
        wire.check_form(form)
    with pytest.raises(errors.InternalError, match="99"):
        wire.unpack_results(pb.EmbedResponse(form=form), 0)


def test_timings_and_numerics_survive_the_trip() -> None:
    """To the millisecond's last digit that float32 has."""
    timings = Timings(0.001, 0.002, 0.003, 0.004, 0.010, 8)
    sent = Result(np.zeros(3, np.float32), None, None, False, "f", "cuda/fp16", timings)
    (got,) = wire.unpack_results(wire.pack_results([sent], "f", "cpu/fp32", 3, PLAIN), 1)
    assert got.numerics == "cuda/fp16"
    assert got.timings.batch_size == 8
    for name in ("waiting", "decode", "queue", "inference", "total"):
        assert getattr(got.timings, name) == pytest.approx(getattr(timings, name))


def test_what_is_remembered_survives_the_trip() -> None:
    """A vector bit by bit, and nothing where there is none."""
    sent = [None, Row("cpu/fp32", np.float32([1, np.nan, -0.0]))]
    nothing, got = wire.unpack_rows(wire.pack_rows(sent, "f", 3, PLAIN), 2)
    assert nothing is None
    assert got is not None
    assert got.vector.tobytes() == sent[1].vector.tobytes()
    assert got.numerics == "cpu/fp32"
    assert not got.vector.flags.writeable
    with pytest.raises(errors.InternalError, match="2 digests with 1"):
        wire.unpack_rows(wire.pack_rows([None], "f", 3, PLAIN), 2)


def test_answers_that_do_not_fit_are_refused() -> None:
    """Too few results, or a vector of another width, is the server's error and not a crash."""
    sent = Result(np.zeros(3, np.float32), None, None, False, "f")
    message = wire.pack_results([sent], "f", "n", 3, PLAIN)
    with pytest.raises(errors.InternalError, match="2 images with 1 results"):
        wire.unpack_results(message, 2)
    message.dim = 4
    with pytest.raises(errors.InternalError, match=r"4 numbers .* came as 12 bytes"):
        wire.unpack_results(message, 1)


def test_info_survives_the_trip() -> None:
    """Every field of `Info` arrives."""
    info = wire.Info("1.2", "net", "ab", 1280, "cpu/fp32", (224, 240), 1, 2, 3, 4, 5, 6, 0.75)
    assert wire.unpack_info(wire.pack_info(info)) == info


def test_generated_code_runs_on_the_oldest_libraries_allowed() -> None:
    """The generator was no newer than the lower bounds in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = dict(line.split(">=") for line in project["dependencies"])
    code = Path(pb.__file__).read_text()
    generator = next(line.split(": ")[1] for line in code.splitlines() if "Protobuf Python Version" in line)
    assert _version(generator) <= (*_version(bounds["protobuf"]), 99)
    assert _version(penultimate_pb2_grpc.GRPC_GENERATED_VERSION) <= (*_version(bounds["grpcio"]), 99)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@given(st.lists(st.binary(max_size=300) | st.integers(1, 70_000).map(bytes), max_size=5), st.text(max_size=9))
def test_a_request_is_what_protobuf_would_have_written(images: list[bytes], fingerprint: str) -> None:
    """Whatever the images' sizes: its reader finds each, and nothing else."""
    form = pb.VectorForm(number=pb.VectorForm.FLOAT16, unit_length=True)
    for wanted in (form, None):
        message = wire.pack_images(images, fingerprint, wanted)
        assert pb.EmbedRequest.FromString(message) == pb.EmbedRequest(
            images=images, fingerprint=fingerprint, form=wanted
        )
