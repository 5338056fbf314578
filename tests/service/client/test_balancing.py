"""Several servers behind one client: they share the work, and one that fails is not missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from extractor import errors
from extractor.client import REQUEST_IMAGES, AsyncClient, Client
from extractor.results import Result

PATIENCE_S = 60

Embed = Callable[..., list[Result]]

IMAGES = [b"x" * size for size in range(40 * REQUEST_IMAGES)]


def lengths(results: list[Result]) -> list[float]:
    return [result.embedding[0] for result in results if result.embedding is not None]


@pytest.fixture
def pair(script: Callable[..., Any]) -> tuple[Any, Any]:
    """Two servers."""
    return script(), script()


@pytest.fixture(params=[list, ",".join], ids=["list", "commas"])
def joined(request: pytest.FixtureRequest) -> Any:
    """Both ways to name several addresses."""
    return request.param


def test_requests_are_shared(embed: Embed, pair: Any, joined: Any) -> None:
    """Each server has a good part of them, and the results are in order."""
    results = embed(joined([server.address for server in pair]), IMAGES)
    assert lengths(results) == list(range(len(IMAGES)))
    assert all(len(server.requests) >= 10 for server in pair)


def test_single_calls_go_to_each_in_turn(pair: Any) -> None:
    """Among servers with nothing to do, the one that waited longest is next."""
    with Client([server.address for server in pair]) as client:
        for _ in range(10):
            client.embed([b"x"])
    assert [len(server.requests) for server in pair] == [5, 5]


def test_a_busy_server_gets_nothing_while_another_is_free(pair: Any) -> None:
    """What counts is how many requests are under way."""
    busy, free = pair
    arrived, over = threading.Event(), threading.Event()
    busy.before = lambda number, context: (arrived.set(), over.wait(PATIENCE_S))
    with Client([busy.address, free.address]) as client, ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.embed, [b"first"])
        assert arrived.wait(PATIENCE_S)
        for _ in range(10):
            client.embed([b"x"])
        over.set()
        assert held.result(PATIENCE_S)[0].ok
    assert (len(busy.requests), len(free.requests)) == (1, 10)


def test_a_server_that_ends_is_not_missed(embed: Embed, pair: Any) -> None:
    """In the middle of its work: what it had goes to the other, and every image has its result."""
    leaving, staying = pair
    held = threading.Event()

    def before(number: int, context: grpc.ServicerContext) -> None:
        if number == 4:
            threading.Thread(target=lambda: (leaving.server.stop(grace=None).wait(), held.set())).start()
        if number >= 4:
            held.wait(PATIENCE_S)

    leaving.before = before
    results = embed([leaving.address, staying.address], IMAGES)
    assert lengths(results) == list(range(len(IMAGES)))
    assert len(leaving.requests) < 12
    assert len(staying.requests) >= 28


def test_a_server_that_comes_back_is_used_again(script: Callable[..., Any], pair: Any) -> None:
    """Within the few seconds after which it is tried out."""
    leaving, staying = pair
    with Client([leaving.address, staying.address]) as client:
        client.embed(IMAGES)
        leaving.stop()
        assert lengths(client.embed(IMAGES)) == list(range(len(IMAGES)))
        back = script(address=leaving.address)
        deadline = time.monotonic() + PATIENCE_S
        while not back.requests:
            assert time.monotonic() < deadline
            assert client.embed([b"x"])[0].ok


def test_a_server_that_is_not_there_is_left_out(embed: Embed, pair: Any) -> None:
    """Also at the first contact."""
    gone, there = pair
    gone.stop()
    assert lengths(embed([gone.address, there.address], IMAGES)) == list(range(len(IMAGES)))
    assert not gone.requests


def test_a_server_that_hangs_at_the_first_contact_is_left_out(embed: Embed, pair: Any) -> None:
    """After two seconds."""
    hanging, there = pair
    over = threading.Event()
    hanging.greet = lambda: over.wait(PATIENCE_S)
    assert embed([hanging.address, there.address], [b"x"])[0].ok
    over.set()
    assert len(there.requests) == 1


def test_a_server_that_hangs_later_is_passed_by(embed: Embed, pair: Any) -> None:
    """Its requests go to the other when a third of their time is over, and later ones go there at once."""
    hanging, there = pair
    over = threading.Event()
    hanging.before = lambda number, context: over.wait(PATIENCE_S)
    results = embed([hanging.address, there.address], IMAGES, timeout=9)
    over.set()
    assert lengths(results) == list(range(len(IMAGES)))
    assert len(hanging.requests) <= 8


def test_of_three_servers_two_may_hang(embed: Embed, pair: Any, script: Callable[..., Any]) -> None:
    """Each try has a third of the time, so that there is one for each of them."""
    over = threading.Event()
    for hanging in pair:
        hanging.before = lambda number, context: over.wait(PATIENCE_S)
    there = script()
    results = embed([server.address for server in (*pair, there)], IMAGES, timeout=9)
    over.set()
    assert lengths(results) == list(range(len(IMAGES)))


def test_when_all_hang_it_is_said(embed: Embed, pair: Any) -> None:
    """When all of the time is over."""
    over = threading.Event()
    for hanging in pair:
        hanging.before = lambda number, context: over.wait(PATIENCE_S)
    begun = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match="timeout"):
        embed([server.address for server in pair], [b"x"], timeout=3)
    assert time.monotonic() - begun > 2.9
    over.set()


def test_a_full_server_is_passed_by(embed: Embed, pair: Any) -> None:
    """What it refuses goes to the other at once, not after the pause that it asks for."""
    full, free = pair
    full.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 10**6, ("grpc-retry-pushback-ms", str(1000 * PATIENCE_S)))
    begun = time.monotonic()
    assert lengths(embed([full.address, free.address], IMAGES)) == list(range(len(IMAGES)))
    assert time.monotonic() - begun < PATIENCE_S / 2
    assert len(full.requests) <= 8


def test_when_all_are_gone_it_is_said(embed: Embed, pair: Any) -> None:
    """As for one."""
    for server in pair:
        server.stop()
    with pytest.raises(errors.Unavailable, match="penultimate serve --address"):
        embed([server.address for server in pair], [b"x"])


def test_servers_of_two_backbones_are_refused(embed: Embed, pair: Any) -> None:
    """Before anything is embedded; addresses and fingerprints of both are named."""
    pair[1].info.fingerprint = "cd" * 32
    with pytest.raises(errors.FingerprintMismatch) as caught:
        embed([server.address for server in pair], [b"x"])
    for name in (pair[0].address, pair[1].address, "ab" * 32, "cd" * 32):
        assert name in str(caught.value)
    assert not any(server.requests for server in pair)


def test_the_tightest_limits_hold(embed: Embed, pair: Any) -> None:
    """Whatever is sent may go to either."""
    pair[1].info.limits.image_bytes = 100
    good, large = embed([server.address for server in pair], [b"x" * 100, b"x" * 101])
    assert good.ok
    assert isinstance(large.error, errors.ImageTooLarge)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("address", "message"), [("", "names no server"), ([], "names no server"), ("a:1,b", "'b' is no address")]
)
def test_an_address_that_is_none_is_said(kind: Any, address: Any, message: str) -> None:
    """At once."""
    with pytest.raises(errors.InvalidArgument, match=message):
        kind(address)


def test_a_real_server_that_is_killed_is_not_missed(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """Half-way through, by `kill -9`: the other has all of it, each image its own vector."""
    servers = [serve("--no-collections"), serve("--no-collections")]
    images = [picture(seed) for seed in range(120)]

    def until_half() -> Iterator[bytes]:
        for number, image in enumerate(images):
            if number == len(images) // 2:
                servers[0].kill()
            yield image

    with Client([server.address for server in servers]) as client:
        results = client.embed(until_half())
    with Client(servers[1].address) as client:
        again = client.embed(images)
    assert all(result.ok for result in results)
    assert [result.digest for result in results] == [result.digest for result in again]
    for result, other in zip(results, again, strict=True):
        assert result.embedding == pytest.approx(other.embedding, abs=0.2)
