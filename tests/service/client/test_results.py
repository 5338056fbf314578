"""Images in, results out: every one in its place, whatever is wrong with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from extractor import errors
from extractor.client import REQUEST_IMAGES, REQUESTS_UNDER_WAY, AsyncClient, Client
from extractor.results import Result

Embed = Callable[..., list[Result]]


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


def test_a_request_says_how_large_it_is(embed: Embed, scripted: Any) -> None:
    """So that the server keeps no more room than it needs."""
    said = []
    scripted.before = lambda number, context: said.append(dict(context.invocation_metadata()))
    embed(scripted.address, [b"a" * 1000])
    (headers,) = said
    assert int(headers["penultimate-request-bytes"]) == scripted.requests[0].ByteSize()


def test_every_request_names_the_first_backbone(embed: Embed, scripted: Any) -> None:
    """So that a server with another can refuse."""
    embed(scripted.address, [b"a"])
    assert scripted.requests[0].fingerprint == scripted.info.fingerprint


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


def test_async_properties_say_what_is_missing() -> None:
    """Before the server was asked, the async client says how to ask."""

    async def ask() -> None:
        client = AsyncClient("127.0.0.1:1")
        with pytest.raises(errors.InvalidArgument, match=r"await client\.info\(\)"):
            _ = client.fingerprint
        await client.close()

    asyncio.run(ask())


def test_the_client_is_light() -> None:
    """A machine that only sends images needs no runtime, and loads no imaging library for bytes."""
    heavy = "onnxruntime", "torch", "PIL"
    code = f"import sys; import extractor.client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
