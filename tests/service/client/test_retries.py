"""What is tried again, when, and for how long; and what is said in the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from extractor import errors
from extractor.client import REQUEST_IMAGES
from extractor.results import Result

PATIENCE_S = 60

Embed = Callable[..., list[Result]]


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:  # bound, but not listening: nobody else gets it
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_passes_is_tried_again(embed: Embed, scripted: Any, code: grpc.StatusCode) -> None:
    """Also a request that is too large for gRPC's default retry buffer."""
    scripted.fail(code, 2, ("grpc-retry-pushback-ms", "1"))
    (result,) = embed(scripted.address, [bytes(2**20)])
    assert result.ok
    assert len(scripted.requests) == 3


def test_a_busy_server_is_waited_for(embed: Embed, scripted: Any) -> None:
    """As often as the server refuses, the client comes again: a long job does not die of a busy hour."""
    scripted.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 40, ("grpc-retry-pushback-ms", "5"))
    results = embed(scripted.address, [b"x" * size for size in range(10 * REQUEST_IMAGES)])
    assert [result.embedding[0] for result in results] == list(range(10 * REQUEST_IMAGES))


def retry_info(seconds: float) -> bytes:
    """What servers that are not ours may send in place of gRPC's own trailer."""
    status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="not now")
    status.details.add().Pack(RetryInfo(retry_delay=Duration(nanos=round(seconds * 1e9))))
    return status.SerializeToString()


@pytest.mark.parametrize(
    "trailer",
    [("grpc-retry-pushback-ms", "300"), ("grpc-status-details-bin", retry_info(0.3))],
    ids=["pushback", "RetryInfo"],
)
def test_the_server_says_when_to_come_again(embed: Embed, scripted: Any, trailer: Any) -> None:
    """No try comes earlier than that, however the server says it."""
    scripted.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 2, trailer)
    embed(scripted.address, [b"a"])
    assert len(scripted.times) == 3
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(scripted.times))


def test_details_that_are_none_do_no_harm(embed: Embed, scripted: Any) -> None:
    """Then the client waits as long as it does without a hint."""
    scripted.fail(grpc.StatusCode.UNAVAILABLE, 1, ("grpc-status-details-bin", b"\xff"))
    assert embed(scripted.address, [b"a"])[0].ok


def test_waiting_is_bounded(embed: Embed, scripted: Any) -> None:
    """A server that stays full for all of `timeout` is an error, with the server's own sentence."""
    scripted.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 10**6, ("grpc-retry-pushback-ms", "200"))
    begun = time.monotonic()
    with pytest.raises(errors.Overloaded, match="not now"):
        embed(scripted.address, [b"a"], timeout=1)
    assert 0.5 < time.monotonic() - begun < PATIENCE_S
    assert 3 <= len(scripted.requests) <= 5


def test_a_request_too_large_for_a_proxy_is_not_tried_again(embed: Embed, scripted: Any) -> None:
    """gRPC gives it the status of a full queue, but it would never pass."""

    def refuse(number: int, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 8)")

    scripted.before = refuse
    with pytest.raises(errors.InvalidArgument, match=r"9 vs\. 8"):
        embed(scripted.address, [b"a"])
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
def test_what_stays_wrong_is_not_tried_again(embed: Embed, scripted: Any, code: grpc.StatusCode) -> None:
    """One call, one error."""
    scripted.fail(code, 99)
    with pytest.raises((errors.InvalidArgument, errors.InternalError), match="not now"):
        embed(scripted.address, [b"a"])
    assert len(scripted.requests) == 1


def test_no_server_is_one_clear_sentence(embed: Embed, nowhere: str) -> None:
    """It names the address and the command that starts one."""
    with pytest.raises(errors.Unavailable, match=f"{nowhere}.*penultimate serve --address {nowhere}"):
        embed(nowhere, [b"a"])


def test_a_server_that_never_answers_is_given_up(embed: Embed, scripted: Any) -> None:
    """`timeout` bounds each request."""
    given_up = threading.Event()
    scripted.before = lambda number, context: bool(given_up.wait(PATIENCE_S))
    with pytest.raises(errors.DeadlineExceeded, match="timeout"):
        embed(scripted.address, [b"a"], timeout=0.3)
    given_up.set()


def test_another_backbone_is_a_mismatch(embed: Embed, scripted: Any) -> None:
    """The error has both fingerprints, and nothing is tried again."""
    scripted.fail(grpc.StatusCode.FAILED_PRECONDITION, 99, ("penultimate-fingerprint", "cd" * 32))
    with pytest.raises(errors.FingerprintMismatch) as caught:
        embed(scripted.address, [b"a"])
    assert (caught.value.expected, caught.value.found) == ("cd" * 32, "ab" * 32)
    assert len(scripted.requests) == 1
