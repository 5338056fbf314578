"""What servers remember is asked for by digest, and not sent."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from extractor.client import REQUEST_IMAGES, AsyncClient, Client
from extractor.results import Result

Embed = Callable[..., list[Result]]


def digest(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


def test_what_the_server_remembers_is_not_sent(embed: Embed, scripted: Any) -> None:
    """Digests go first, then only the images that are not known; all results in order."""
    images = [b"x" * size for size in range(5 * REQUEST_IMAGES)]
    scripted.known = {digest(image): -len(image) for image in images if len(image) % 10}
    results = embed(scripted.address, images)
    values = [result.embedding[0] for result in results]
    assert values == [-size if size % 10 else size for size in range(len(images))]
    assert [result.cached for result in results] == [bool(size % 10) for size in range(len(images))]
    for image, result in zip(images, results, strict=True):
        assert result.digest == (digest(image) if result.cached else b"d" * 32)
    sent = [image for request in scripted.requests for image in request.images]
    assert sorted(map(len, sent)) == list(range(0, len(images), 10))
    assert all(request.fingerprint == scripted.info.fingerprint for request in scripted.lookups)


def test_while_all_is_remembered_the_questions_are_larger(embed: Embed, scripted: Any) -> None:
    """Nothing is sent, all results are in order, and a question is for more images than a request."""
    images = [b"x" * size for size in range(40 * REQUEST_IMAGES)]
    scripted.known = {digest(image): len(image) for image in images}
    results = embed(scripted.address, images)
    assert [result.embedding[0] for result in results] == list(range(len(images)))
    assert not scripted.requests
    assert len(scripted.lookups) < 20


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
    assert sorted(len(request.digests) for request in scripted.lookups) == [5, 5, 10, 10, 10, 10]


def test_what_is_not_remembered_after_all_is_sent_in_usual_requests(embed: Embed, scripted: Any) -> None:
    """A large question whose answer is no becomes several requests, and the order stays."""
    images = [b"x" * size for size in range(20 * REQUEST_IMAGES)]
    scripted.known = {digest(image): len(image) for image in images[: 8 * REQUEST_IMAGES]}
    results = embed(scripted.address, images)
    assert [result.embedding[0] for result in results] == list(range(len(images)))
    assert max(len(request.digests) for request in scripted.lookups) > REQUEST_IMAGES
    assert max(len(request.images) for request in scripted.requests) == REQUEST_IMAGES
    assert sum(len(request.images) for request in scripted.requests) == 12 * REQUEST_IMAGES


def test_a_server_with_tighter_limits_gets_smaller_requests(embed: Embed, scripted: Any) -> None:
    """Both as many images, and as many bytes, as it takes; questions too."""
    scripted.info.limits.items_per_call = 5
    scripted.info.limits.message_bytes = 6144
    images = [bytes([number]) * 1000 for number in range(24)] + [b"x" * 2000] * 12
    scripted.known = {digest(image): number for number, image in enumerate(images[:12])}
    results = embed(scripted.address, images)
    assert [result.embedding[0] for result in results] == [*range(12), *[1000] * 12, *[2000] * 12]
    assert max(len(request.digests) for request in scripted.lookups) == 5
    assert max(len(request.images) for request in scripted.requests) == 5
    assert max(request.ByteSize() for request in scripted.requests) <= 6144


def test_answers_have_room_in_a_message_too(embed: Embed, scripted: Any) -> None:
    """Where vectors are larger than images, they say how many images, and digests, go together."""
    scripted.info.dim = 700  # with what is around them, 3,100 bytes
    scripted.info.limits.message_bytes = 10_000
    images = [bytes([number]) for number in range(24)]
    embed(scripted.address, images)
    assert {len(request.images) for request in scripted.requests} == {3}
    scripted.lookups.clear()
    with Client(scripted.address) as client:
        client.lookup([digest(image) for image in images])
    assert {len(request.digests) for request in scripted.lookups} == {3}


def test_a_remembered_result_says_what_computed_it(embed: Embed, scripted: Any) -> None:
    """It may be another provider than the server's of today."""
    images = [b"x" * size for size in range(4)]
    scripted.known = {digest(image): 1 for image in images}
    assert {result.numerics for result in embed(scripted.address, images)} == {"scripted/fp32"}
