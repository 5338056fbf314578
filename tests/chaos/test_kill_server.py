"""`kill -9` and a new server on the same port: clients come back by themselves and miss nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from extractor.client import AsyncClient, Client
from tests.chaos.conftest import PATIENCE_S, Album, Serve

IMAGES = 600
KILLS = (150, 300, 450)
"""How many images have been drawn by the client when the server dies."""


class Reaper:
    """Kills the server where a client draws certain images, and starts another at its address."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server = serve("--no-cache")
        self.address = self._server.address
        self._restarting = threading.Lock()

    def kill(self) -> None:
        """Returns when nobody listens any more; the new server comes later."""
        with self._restarting:
            self._server.kill()

    def restart(self) -> None:
        with self._restarting:
            self._server = self._serve("--no-cache", address=self.address)


def test_a_stream_outlives_three_killed_servers(serve: Serve, album: Album) -> None:
    """Every image is answered, once, rightly and in its place."""
    reaper = Reaper(serve)
    with Client(reaper.address) as client, ThreadPoolExecutor(1) as restarts:

        def images() -> Iterator[bytes]:
            for number in range(IMAGES):
                if number in KILLS:
                    reaper.kill()
                    restarts.submit(reaper.restart)
                yield album.file(number)

        for number, result in enumerate(client.stream(images())):
            album.check(number, result)
        assert number == IMAGES - 1
        assert client.embed([album.file(7)])[0].ok


async def test_an_asynchronous_stream_outlives_three_killed_servers(serve: Serve, album: Album) -> None:
    """As above; meanwhile the event loop is never held up."""
    reaper = Reaper(serve)
    restarts: list[asyncio.Task[None]] = []

    async def images() -> AsyncIterator[bytes]:
        for number in range(IMAGES):
            if number in KILLS:
                await asyncio.to_thread(reaper.kill)
                restarts.append(asyncio.create_task(asyncio.to_thread(reaper.restart)))
            yield album.file(number)

    async with AsyncClient(reaper.address) as client:
        number = -1
        async for result in client.stream(images()):
            number += 1
            album.check(number, result)
        assert number == IMAGES - 1
        await asyncio.gather(*restarts)


def test_many_clients_come_back_at_once(serve: Serve, album: Album) -> None:
    """Twenty streams are cut at the same moment; each of them ends whole."""
    reaper = Reaper(serve)
    begun = threading.Barrier(21)

    def job(start: int) -> None:
        with Client(reaper.address) as client:
            results = client.stream(album.file(number) for number in range(start, start + 60))
            first = next(results)
            begun.wait(PATIENCE_S)
            every = [first, *results]
            assert len(every) == 60
            for number, result in enumerate(every, start):
                album.check(number, result)

    with ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(job, 1000 * client) for client in range(20)]
        begun.wait(PATIENCE_S)
        reaper.kill()
        reaper.restart()
        for each in jobs:
            each.result(PATIENCE_S)
