"""A client that is closed, and a stream that is left early: what is under way ends."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from extractor import errors
from extractor.client import REQUEST_IMAGES, AsyncClient, Client, base

PATIENCE_S = 60


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


def test_closing_ends_a_greeting_too(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the client that is closed, not a call that was cancelled, also after the first two seconds."""
    monkeypatch.setattr(base, "FIRST_CONTACT", 1e-3)
    arrived, held = threading.Event(), threading.Event()
    scripted.greet = lambda: (arrived.set(), held.wait(PATIENCE_S))
    client = Client(scripted.address)
    with ThreadPoolExecutor(1) as pool:
        info = pool.submit(client.info)
        assert arrived.wait(PATIENCE_S)
        client.close()
        with pytest.raises(errors.Unavailable, match="is closed"):
            info.result(PATIENCE_S)

    async def greet() -> None:
        arrived.clear()
        client = AsyncClient(scripted.address)
        info = asyncio.ensure_future(client.info())
        await asyncio.to_thread(arrived.wait, PATIENCE_S)
        await client.close()
        with pytest.raises(errors.Unavailable, match="is closed"):
            await info

    asyncio.run(greet())
    held.set()


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


def test_leaving_early_ends_pauses_too(scripted: Any) -> None:
    """A stream that is closed does not wait for the time at which the server wanted its requests again."""
    refused = threading.Event()

    def before(number: int, context: grpc.ServicerContext) -> None:
        if scripted.requests[number - 1].images[0] == b"later":
            refused.set()
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(1000 * PATIENCE_S)),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "in a minute")

    scripted.before = before
    with Client(scripted.address, timeout=10 * PATIENCE_S) as client:
        results = client.stream([b"first"] * REQUEST_IMAGES + [b"later"] * REQUEST_IMAGES)
        next(results)
        assert refused.wait(PATIENCE_S)
        begun = time.monotonic()
        results.close()
    assert time.monotonic() - begun < PATIENCE_S / 2


def test_one_client_serves_many_threads(scripted: Any) -> None:
    """Each has its own results, in order."""
    with Client(scripted.address) as client, ThreadPoolExecutor(8) as pool:
        jobs = [[b"x" * (100 * job + size) for size in range(50)] for job in range(16)]
        for job, results in enumerate(pool.map(client.embed, jobs)):
            assert [result.embedding[0] for result in results] == [100 * job + size for size in range(50)]
