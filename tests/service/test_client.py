"""What the clients send, keep and try again; both kinds do the same."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image

from extractor import errors
from extractor.client import REQUEST_IMAGES, REQUESTS_UNDER_WAY, AsyncClient, Client
from extractor.results import Result

PATIENCE_S = 60

Embed = Callable[..., list[Result]]


def blocking(address: str, images: Iterable[Any], **options: Any) -> list[Result]:
    with Client(address, **options) as client:
        return client.embed(images)


def awaiting(address: str, images: Iterable[Any], **options: Any) -> list[Result]:
    async def embed() -> list[Result]:
        async with AsyncClient(address, **options) as client:
            return await client.embed(images)

    return asyncio.run(embed())


@pytest.fixture(params=[blocking, awaiting])
def embed(request: pytest.FixtureRequest) -> Embed:
    """Embeds by a new client of either kind."""
    return request.param


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:  # bound, but not listening: nobody else gets it
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def fail(code: grpc.StatusCode, times: int, *trailers: tuple[str, str]) -> Callable[..., None]:
    """Makes a scripted server fail its first calls."""

    def before(number: int, context: grpc.ServicerContext) -> None:
        if number <= times:
            context.set_trailing_metadata(trailers)
            context.abort(code, "not now")

    return before


def test_results_are_in_order(embed: Embed, scripted: Any) -> None:
    """Over many requests, each image gets its own vector."""
    images = [b"x" * size for size in range(300)]
    results = embed(scripted.address, images)
    assert [result.embedding[0] for result in results if result.ok] == list(range(300))
    assert 300 / REQUEST_IMAGES <= len(scripted.requests) < 300


def test_nothing_gives_nothing(embed: Embed, scripted: Any) -> None:
    """No images, no results, no call."""
    assert embed(scripted.address, []) == []
    assert not scripted.requests


def test_an_image_is_bytes_a_path_or_a_picture(embed: Embed, scripted: Any, tmp_path: Path) -> None:
    """All three reach the server as an image file's bytes."""
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    embed(scripted.address, [path.read_bytes(), path, str(path), Image.open(path)])
    (request,) = scripted.requests
    assert request.images[0] == request.images[1] == request.images[2]
    assert all(image.startswith(b"\x89PNG") for image in request.images)


def test_a_file_that_is_not_there_fails_alone(embed: Embed, scripted: Any, tmp_path: Path) -> None:
    """It is never sent, and its neighbours keep their places."""
    first, missing, last = embed(scripted.address, [b"a", tmp_path / "no.jpg", b"bbb"])
    assert isinstance(missing.error, errors.NotFound)
    assert str(tmp_path / "no.jpg") in str(missing.error)
    assert (first.embedding[0], last.embedding[0]) == (1, 3)
    assert len(scripted.requests[0].images) == 2


def digest(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


def test_what_the_server_remembers_is_not_sent(scripted: Any) -> None:
    """Digests go first, then only the images that are not known; all results in order."""
    images = [b"x" * size for size in range(5 * REQUEST_IMAGES)]
    scripted.known = {digest(image): -len(image) for image in images if len(image) % 10}
    results = blocking(scripted.address, images)
    values = [result.embedding[0] for result in results]
    assert values == [-size if size % 10 else size for size in range(len(images))]
    assert [result.cached for result in results] == [bool(size % 10) for size in range(len(images))]
    for image, result in zip(images, results, strict=True):
        assert result.digest == (digest(image) if result.cached else b"d" * 32)
    sent = [image for request in scripted.requests for image in request.images]
    assert sorted(map(len, sent)) == list(range(0, len(images), 10))
    assert all(request.fingerprint == scripted.info.fingerprint for request in scripted.lookups)


def test_the_async_client_learns_that_asking_pays(scripted: Any) -> None:
    """While its first question is under way it sends; afterwards it asks, and sends nothing."""
    images = [b"x" * size for size in range(40 * REQUEST_IMAGES)]
    scripted.known = {digest(image): len(image) for image in images}

    async def embed() -> list[Result]:
        async with AsyncClient(scripted.address) as client:
            return await client.embed(images)

    results = asyncio.run(embed())
    assert [result.embedding[0] for result in results] == list(range(len(images)))
    assert len(scripted.requests) <= 2 * REQUESTS_UNDER_WAY
    assert len(scripted.lookups) + len(scripted.requests) == 40


def test_where_nothing_is_remembered_the_client_soon_stops_asking(embed: Embed, scripted: Any) -> None:
    """Sixty-four requests, at most six questions."""
    assert len(embed(scripted.address, [b"x"] * (64 * REQUEST_IMAGES))) == 64 * REQUEST_IMAGES
    assert len(scripted.requests) == 64
    assert 1 <= len(scripted.lookups) <= 6


def test_a_few_images_are_sent_without_asking(embed: Embed, scripted: Any) -> None:
    """The question would take longer."""
    embed(scripted.address, [b"x", b"y", b"z"])
    assert not scripted.lookups


def test_lookup_by_digest(scripted: Any) -> None:
    """Any number of digests, in calls that the server accepts; the same from both clients."""
    scripted.info.limits.items_per_call = 10
    digests = [digest(b"x" * size) for size in range(25)]
    scripted.known = dict(zip(digests[::2], range(0, 25, 2), strict=True))
    expected = [None if size % 2 else size for size in range(25)]

    async def lookup() -> list[Any]:
        async with AsyncClient(scripted.address) as client:
            return await client.lookup(digests)

    with Client(scripted.address) as client:
        for found in (client.lookup(digests), asyncio.run(lookup())):
            assert [None if vector is None else vector[0] for vector in found] == expected
        assert client.lookup([]) == []
    assert [len(request.digests) for request in scripted.lookups] == [10, 10, 5] * 2


def test_whatever_an_image_does_it_fails_alone(embed: Embed, scripted: Any) -> None:
    """A path that cannot be one, a picture that cannot be written, things that are no image."""

    class Broken:
        def __fspath__(self) -> str:
            raise RuntimeError("torn")

    bad = ["a\0b", Broken(), object(), None]
    results = embed(scripted.address, [b"a", *bad, b"bbb"])
    assert [result.ok for result in results] == [True, *[False] * len(bad), True]
    assert "torn" in str(results[2].error)
    assert results[-1].embedding[0] == 3


def test_an_embedding_cannot_be_changed_in_place(embed: Embed, scripted: Any) -> None:
    """As one of an `Embedder`, which its cache shares with all callers."""
    (result,) = embed(scripted.address, [b"a"])
    with pytest.raises(ValueError, match="read-only"):
        result.embedding /= 2


def test_an_image_over_the_limit_fails_alone(embed: Embed, scripted: Any) -> None:
    """It is not sent; the error names its size and the limit."""
    scripted.info.limits.image_bytes = 1000
    good, large = embed(scripted.address, [b"a", b"x" * 1001])
    assert good.ok
    assert isinstance(large.error, errors.ImageTooLarge)
    assert "1,001" in str(large.error)
    assert "1,000" in str(large.error)


def test_an_image_over_the_message_limit_fails_alone(embed: Embed, scripted: Any) -> None:
    """Even where the server would take larger images than fit into a message."""
    scripted.info.limits.image_bytes = 2**40
    good, large = embed(scripted.address, [b"a", bytes(2**26)])
    assert good.ok
    assert isinstance(large.error, errors.ImageTooLarge)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_passes_is_tried_again(embed: Embed, scripted: Any, code: grpc.StatusCode) -> None:
    """Also a request that is too large for gRPC's default retry buffer."""
    scripted.before = fail(code, 2, ("grpc-retry-pushback-ms", "1"))
    (result,) = embed(scripted.address, [bytes(2**20)])
    assert result.ok
    assert len(scripted.requests) == 3


def test_a_busy_server_is_waited_for(embed: Embed, scripted: Any) -> None:
    """As often as the server refuses, the client comes again: a long job does not die of a busy hour."""
    scripted.before = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 40, ("grpc-retry-pushback-ms", "5"))
    results = embed(scripted.address, [b"x" * size for size in range(10 * REQUEST_IMAGES)])
    assert [result.embedding[0] for result in results] == list(range(10 * REQUEST_IMAGES))


def test_the_server_says_when_to_come_again(embed: Embed, scripted: Any) -> None:
    """No try comes earlier than that."""
    times = []

    def before(number: int, context: grpc.ServicerContext) -> None:
        times.append(time.monotonic())
        fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 2, ("grpc-retry-pushback-ms", "300"))(number, context)

    scripted.before = before
    embed(scripted.address, [b"a"])
    assert len(times) == 3
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(times))


def test_waiting_is_bounded(embed: Embed, scripted: Any) -> None:
    """A server that stays full for all of `timeout` is an error, with the server's own sentence."""
    scripted.before = fail(grpc.StatusCode.RESOURCE_EXHAUSTED, 10**6, ("grpc-retry-pushback-ms", "200"))
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


def test_a_request_says_how_large_it_is(embed: Embed, scripted: Any) -> None:
    """So that the server keeps no more room than it needs."""
    said = []
    scripted.before = lambda number, context: said.append(dict(context.invocation_metadata()))
    embed(scripted.address, [b"a" * 1000])
    (headers,) = said
    assert int(headers["penultimate-request-bytes"]) == scripted.requests[0].ByteSize()


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
def test_what_stays_wrong_is_not_tried_again(embed: Embed, scripted: Any, code: grpc.StatusCode) -> None:
    """One call, one error."""
    scripted.before = fail(code, 99)
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


def test_every_request_names_the_first_backbone(embed: Embed, scripted: Any) -> None:
    """So that a server with another can refuse."""
    embed(scripted.address, [b"a"])
    assert scripted.requests[0].fingerprint == scripted.info.fingerprint


def test_another_backbone_is_a_mismatch(embed: Embed, scripted: Any) -> None:
    """The error has both fingerprints, and nothing is tried again."""
    scripted.before = fail(grpc.StatusCode.FAILED_PRECONDITION, 99, ("penultimate-fingerprint", "cd" * 32))
    with pytest.raises(errors.FingerprintMismatch) as caught:
        embed(scripted.address, [b"a"])
    assert (caught.value.expected, caught.value.found) == ("cd" * 32, "ab" * 32)
    assert len(scripted.requests) == 1


def test_images_are_drawn_as_they_are_needed(scripted: Any) -> None:
    """An endless iterable works, and no more is read than the window holds."""
    drawn = []

    def endless() -> Iterator[bytes]:
        while True:
            drawn.append(None)
            yield b"abc"

    with Client(scripted.address) as client:
        results = client.stream(endless())
        for _ in range(1000):
            next(results)
        results.close()
    assert len(drawn) <= 1000 + REQUEST_IMAGES * (REQUESTS_UNDER_WAY + 2)


def test_leaving_early_cancels_what_is_under_way(scripted: Any) -> None:
    """Closing the stream lets the server drop its requests."""
    arrived, cancelled, held = threading.Event(), threading.Event(), threading.Event()

    def hold(number: int, context: grpc.ServicerContext) -> None:
        if scripted.requests[number - 1].images[0] == b"first":
            arrived.wait(PATIENCE_S)
            return
        context.add_callback(cancelled.set)
        arrived.set()
        held.wait(PATIENCE_S)

    scripted.before = hold
    with Client(scripted.address) as client:
        results = client.stream([b"first"] * REQUEST_IMAGES + [b"later"] * REQUEST_IMAGES)
        next(results)
        assert arrived.is_set()
        results.close()
        assert cancelled.wait(PATIENCE_S)
        held.set()


def test_async_properties_say_what_is_missing() -> None:
    """Before the server was asked, the async client says how to ask."""

    async def ask() -> None:
        client = AsyncClient("127.0.0.1:1")
        with pytest.raises(errors.InvalidArgument, match=r"await client\.info\(\)"):
            _ = client.fingerprint
        await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_timeout_is_positive(kind: Any, timeout: float) -> None:
    """Anything else is refused with the value."""
    with pytest.raises(errors.InvalidArgument, match=f"timeout is {timeout}"):
        kind(timeout=timeout)


def test_a_closed_client_says_so(scripted: Any) -> None:
    """One sentence, whichever of its methods is called."""
    client = Client(scripted.address)
    client.embed([b"a"])
    client.close()
    for call in (client.info, lambda: client.embed([b"a"])):
        with pytest.raises(errors.Unavailable, match="is closed"):
            call()

    async def embed() -> None:
        client = AsyncClient(scripted.address)
        await client.embed([b"a"])
        await client.close()
        with pytest.raises(errors.Unavailable, match="is closed"):
            await client.info()
        with pytest.raises(errors.Unavailable, match="is closed"):
            await client.embed([b"a"])

    asyncio.run(embed())


def test_closing_ends_what_is_under_way(scripted: Any) -> None:
    """Calls fail as unavailable, and nothing is tried again."""
    arrived, held = threading.Event(), threading.Event()

    def hold(number: int, context: grpc.ServicerContext) -> None:
        arrived.set()
        held.wait(PATIENCE_S)

    scripted.before = hold
    client = Client(scripted.address)
    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(client.embed, [b"a"])
        assert arrived.wait(PATIENCE_S)
        client.close()
        with pytest.raises(errors.Unavailable, match="is closed"):
            results.result(PATIENCE_S)

    async def embed() -> None:
        arrived.clear()
        client = AsyncClient(scripted.address)
        results = asyncio.ensure_future(client.embed([b"a"]))
        await asyncio.to_thread(arrived.wait, PATIENCE_S)
        await client.close()
        with pytest.raises(errors.Unavailable, match="is closed"):
            await results

    asyncio.run(embed())
    held.set()


def test_the_async_client_takes_async_iterables(scripted: Any) -> None:
    """As from a queue or a camera; more than fit into one request, and none."""

    async def camera(count: int) -> AsyncIterator[bytes]:
        for size in range(count):
            await asyncio.sleep(0)
            yield b"x" * size

    async def embed(count: int) -> list[Result]:
        async with AsyncClient(scripted.address) as client:
            return await client.embed(camera(count))

    assert asyncio.run(embed(0)) == []
    results = asyncio.run(embed(3 * REQUEST_IMAGES + 1))
    assert [result.embedding[0] for result in results] == list(range(3 * REQUEST_IMAGES + 1))


def test_an_async_stream_that_is_left_early_cancels_its_requests(scripted: Any) -> None:
    """What is under way is dropped, and nobody is told of failures that nobody waits for."""
    arrived, cancelled, held = threading.Event(), threading.Event(), threading.Event()

    def hold(number: int, context: grpc.ServicerContext) -> None:
        if scripted.requests[number - 1].images[0] == b"first":
            arrived.wait(PATIENCE_S)
            return
        context.add_callback(cancelled.set)
        arrived.set()
        held.wait(PATIENCE_S)

    async def leave() -> None:
        async with AsyncClient(scripted.address) as client:
            results = client.stream([b"first"] * REQUEST_IMAGES + [b"later"] * REQUEST_IMAGES)
            await anext(results)
            await results.aclose()
            assert await asyncio.to_thread(cancelled.wait, PATIENCE_S)

    scripted.before = hold
    asyncio.run(leave())
    held.set()


def test_the_client_is_light() -> None:
    """A machine that only sends images needs no runtime, and loads no imaging library for bytes."""
    heavy = "onnxruntime", "torch", "PIL"
    code = f"import sys; import extractor.client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
