"""The images of one request: submitted together, awaited together, dropped together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from extractor.backbones.bundle import Bundle
from extractor.caches import Row
from extractor.results import Result
from extractor.settings import Limits
from extractor.tickets import Load


class Submits(Protocol):
    """What services need of an embedder."""

    @property
    def bundle(self) -> Bundle: ...  # noqa: D102
    @property
    def limits(self) -> Limits: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def numerics(self) -> str: ...  # noqa: D102
    @property
    def golden_cosine(self) -> float: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def parallel(self) -> int: ...  # noqa: D102

    def warm(self) -> None: ...  # noqa: D102
    def load(self) -> Load: ...  # noqa: D102
    def probe(self) -> Future[None]: ...  # noqa: D102
    def check_room(self, deadline: float, ahead: int) -> None: ...  # noqa: D102
    def submit(self, images: Sequence[bytes], deadline: float) -> Sequence[Future[Result]]: ...  # noqa: D102
    def lookup(self, digests: Sequence[bytes]) -> list[Row | None]: ...  # noqa: D102


class Submission:
    """Images under way in an embedder, for one request; all of them, or none.

    Parameters
    ----------
    embedder : Embedder
    images : sequence of bytes
    deadline : float
        When the answer is of no use any more, by `time.monotonic`.

    Raises
    ------
    Overloaded
        When the embedder does not take them all.
    """

    def __init__(self, embedder: Submits, images: Sequence[bytes], deadline: float) -> None:
        self._futures = embedder.submit(images, deadline)

    async def results(self) -> list[Result]:
        """One result for each image, in order; when the caller leaves, what has not begun is dropped."""
        try:
            await _all_done(self._futures)
            return [future.result() for future in self._futures]
        finally:
            for future in self._futures:
                future.cancel()


async def _all_done(futures: Sequence[Future[Any]]) -> None:
    """Wait for futures of other threads, which wake the event loop once for all of them."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    left = itertools.count(len(futures) - 1, -1)  # next() is atomic

    def count(_: Future[Any]) -> None:
        if next(left) == 0:
            loop.call_soon_threadsafe(done.set)

    for future in futures:
        future.add_done_callback(count)
    if futures:
        await done.wait()
