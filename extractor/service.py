"""The gRPC service: unpack, call the embedder, pack."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from importlib import metadata
from typing import Any, Protocol, TypeVar

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorServicer
from extractor.backbones.bundle import Bundle
from extractor.errors import (
    FingerprintMismatch,
    InternalError,
    InvalidArgument,
    PenultimateError,
    Unavailable,
)
from extractor.results import Result
from extractor.settings import MAX_ITEMS_PER_CALL, MAX_MESSAGE_BYTES, Limits

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Response = TypeVar("Response")
Handler = Callable[[Any, Request], Awaitable[Response]]
Guarded = Callable[[Any, Request, "grpc.aio.ServicerContext[Request, Response]"], Awaitable[Response]]


class Submits(Protocol):
    """What the service needs of an embedder."""

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

    def warm(self) -> None: ...  # noqa: D102
    def submit(self, image: bytes) -> Future[Result]: ...  # noqa: D102


def answers(handler: Handler[Request, Response]) -> Guarded[Request, Response]:
    """Give the handler's answer, or its error as a status.

    An error that nobody raised on purpose is logged with its trace; the
    caller gets a plain sentence.
    """

    @functools.wraps(handler)
    async def guarded(
        self: Any, request: Request, context: grpc.aio.ServicerContext[Request, Response]
    ) -> Response:
        try:
            return await handler(self, request)
        except PenultimateError as error:
            failure = error
        except Exception as error:
            log.exception("%s failed through our own fault", handler.__name__)
            failure = InternalError(f"an internal error ({type(error).__name__}); the server's log has more")
        return await context.abort(*wire.status_of(failure))

    return guarded


class ExtractorService(ExtractorServicer):
    """Answers for one embedder.

    Parameters
    ----------
    embedder : Embedder

    Attributes
    ----------
    not_ready : str
        Why calls fail with Unavailable; empty once the embedder is warm.
    """

    def __init__(self, embedder: Submits) -> None:
        self.not_ready = "it is starting: its network is being loaded and tested"
        self._embedder = embedder
        self._calls: set[asyncio.Task[Any]] = set()

    @answers
    async def Embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:  # noqa: N802 - named by the contract
        """One result per image, in order."""
        self._admit(request)
        self._note_call()
        results = await self._embed(request.images)
        embedder = self._embedder
        return wire.pack_results(results, embedder.fingerprint, embedder.numerics, embedder.dim)

    @answers
    async def GetInfo(self, _request: pb.GetInfoRequest) -> pb.GetInfoResponse:  # noqa: N802
        """What is being served, and on what."""
        self._check_ready()
        return wire.pack_info(self.info())

    async def drain(self, grace: float) -> None:
        """Take nothing new, and wait at most `grace` seconds for what was accepted to be answered."""
        self.not_ready = "it is stopping"
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace)

    def info(self) -> wire.Info:
        """What is being served, and on what; of a warm embedder."""
        manifest, limits = self._embedder.bundle.manifest, self._embedder.limits
        return wire.Info(
            version=metadata.version("penultimate"),
            backbone=manifest.backbone,
            fingerprint=self._embedder.fingerprint,
            dim=self._embedder.dim,
            numerics=self._embedder.numerics,
            input_size=(manifest.preprocessing.height, manifest.preprocessing.width),
            message_bytes=MAX_MESSAGE_BYTES,
            items_per_call=MAX_ITEMS_PER_CALL,
            image_bytes=limits.image_bytes,
            image_pixels=limits.image_pixels,
        )

    def _admit(self, request: pb.EmbedRequest) -> None:
        self._check_ready()
        count = len(request.images)
        if count > MAX_ITEMS_PER_CALL:
            raise InvalidArgument(
                f"the call has {count} images and may have {MAX_ITEMS_PER_CALL}: split it into several calls"
            )
        if request.fingerprint and request.fingerprint != self._embedder.fingerprint:
            raise FingerprintMismatch(
                "what the caller has", expected=self._embedder.fingerprint, found=request.fingerprint
            )

    def _check_ready(self) -> None:
        if self.not_ready:
            raise Unavailable(f"the server does not answer: {self.not_ready}")

    def _note_call(self) -> None:
        """Keep the call's task for `drain`; it ends when gRPC has sent the answer."""
        task = asyncio.current_task()
        assert task
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _embed(self, images: Iterable[bytes]) -> list[Result]:
        """Submit all, wait for all; when the caller leaves or one breaks, drop what has not begun."""
        futures: list[asyncio.Future[Result]] = []
        try:
            for image in images:
                futures.append(asyncio.wrap_future(self._embedder.submit(image)))  # noqa: PERF401 - see finally
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()
