"""The gRPC service: unpack, call the embedder, pack."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from importlib import metadata
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.backbones.bundle import Bundle
from extractor.errors import (
    FingerprintMismatch,
    InternalError,
    InvalidArgument,
    Overloaded,
    PenultimateError,
    Unavailable,
)
from extractor.results import Result, Vector
from extractor.settings import MAX_ITEMS_PER_CALL, Limits, ServiceLimits

log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Request = TypeVar("Request", bound=Message)
Handler = Callable[["ExtractorService", Request], Awaitable[Message]]
Guarded = Callable[["ExtractorService", object, Context], Awaitable[bytes]]

MESSAGE_BYTES_AT_ONCE = 256 * 2**20
"""Bytes of requests that may be in memory at once, with what those being received were expected to have."""

UNSAID_BYTES = 16 * 2**20
"""Room for a request whose caller does not say how large it is, until it is known."""

PATIENCE = 0.2
"""Seconds that a call waits for others to be received before it is refused."""


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
    def lookup(self, digests: Sequence[bytes]) -> list[Vector | None]: ...  # noqa: D102


class Door:
    """Bounds the bytes of all requests in memory, before they are received.

    gRPC holds a message back until it is asked for. So each call has to say
    how much room it needs, and is refused at once when that is taken.
    """

    def __init__(self, limit: int = MESSAGE_BYTES_AT_ONCE) -> None:
        self._limit = limit
        self._coming = self._here = 0
        self._changed = asyncio.Event()

    async def receive(self, context: Any, room: int) -> bytes:
        """The call's message, for which there is `room`; it counts until `release`.

        Raises
        ------
        Overloaded
            When there is not.
        """
        await self._wait_for(room)
        self._coming += room
        try:
            message = await context.read()
        finally:
            self._coming -= room
            self._changed.set()
        if message is grpc.aio.EOF:
            raise InvalidArgument("the call ended before it had sent a message")
        self._here += len(message)
        return bytes(message)

    def release(self, size: int) -> None:
        """The message of `size` bytes has been answered."""
        self._here -= size
        self._changed.set()

    async def _wait_for(self, room: int) -> None:
        """Wait a moment where others only said what they need: that is often too much, and soon known."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._coming and self._here + room <= self._limit < self._here + self._coming + room:
                    self._changed.clear()
                    await self._changed.wait()
        taken = self._here + self._coming
        if taken and taken + room > self._limit:
            raise Overloaded(f"requests of {taken:,} bytes are under way (at most {self._limit:,})")


def answers(kind: type[Request], room: int) -> Callable[[Handler[Request]], Guarded]:
    """Receive the request; give the handler's answer, or its error as a status.

    An error that nobody raised on purpose is logged with its trace; the
    caller gets a plain sentence.

    Parameters
    ----------
    kind : type of message
        The request's.
    room : int
        How many bytes to expect of a request that says nothing of its size.
    """

    def decorate(handler: Handler[Request]) -> Guarded:
        @functools.wraps(handler)
        async def guarded(self: ExtractorService, _: object, context: Context) -> bytes:
            try:
                return await self.answer(handler, kind, context, wire.said_size(context, room))
            except PenultimateError as error:
                failure = error
            except Exception as error:
                log.exception("%s failed through our own fault", handler.__name__)
                failure = InternalError(
                    f"an internal error ({type(error).__name__}); the server's log has more"
                )
            return await context.abort(*wire.status_of(failure))

        return guarded

    return decorate


class ExtractorService:
    """Answers for one embedder.

    Parameters
    ----------
    embedder : Embedder
    limits : ServiceLimits, optional

    Attributes
    ----------
    not_ready : str
        Why calls fail with Unavailable; empty once the embedder is warm.
    door : Door
        What every request's bytes pass.
    """

    def __init__(self, embedder: Submits, limits: ServiceLimits | None = None) -> None:
        self.not_ready = "it is starting: its network is being loaded and tested"
        self._embedder = embedder
        self._limits = limits or ServiceLimits()
        self.door = Door(self._limits.bytes_at_once)
        self._calls: set[asyncio.Task[Any]] = set()

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method.

        Requests are streams to it, though of one message, so that it lets us
        say when to receive them; on the wire there is no difference.
        """
        return {
            handler.__name__: grpc.stream_unary_rpc_method_handler(handler)
            for handler in (self.Embed, self.Lookup, self.GetInfo)
        }

    async def answer(
        self, handler: Handler[Request], kind: type[Request], context: Context, room: int
    ) -> bytes:
        """Receive the call's request and handle it, keeping no other copy of its bytes."""
        message = await self.door.receive(context, room)
        size = len(message)
        try:
            answer = handler(self, wire.parse(kind, message))
            del message
            return (await answer).SerializeToString()
        finally:
            self.door.release(size)

    @answers(pb.EmbedRequest, room=UNSAID_BYTES)
    async def Embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:  # noqa: N802 - named by the contract
        """One result per image, in order."""
        self._admit(len(request.images), request.fingerprint)
        images = list(request.images)
        del request  # the same bytes once more
        results = await self._embed(images)
        embedder = self._embedder
        return wire.pack_results(results, embedder.fingerprint, embedder.numerics, embedder.dim)

    @answers(pb.LookupRequest, room=64 * MAX_ITEMS_PER_CALL)
    async def Lookup(self, request: pb.LookupRequest) -> pb.LookupResponse:  # noqa: N802
        """What is remembered, in the order of the digests."""
        digests = list(request.digests)
        self._admit(len(digests), request.fingerprint)
        for digest in digests:
            if len(digest) != 32:
                raise InvalidArgument(f"a digest has 32 bytes (SHA-256), not {len(digest)}")
        vectors = await asyncio.to_thread(self._embedder.lookup, digests)  # it may have to read from disk
        return wire.pack_vectors(vectors, self._embedder.fingerprint, self._embedder.dim)

    @answers(pb.GetInfoRequest, room=0)
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
            message_bytes=self._limits.message_bytes,
            items_per_call=self._limits.items_per_call,
            image_bytes=limits.image_bytes,
            image_pixels=limits.image_pixels,
        )

    def _admit(self, count: int, fingerprint: str) -> None:
        """Accept a call for `count` items of the backbone that the caller wants, if it names one."""
        self._check_ready()
        if count > (most := self._limits.items_per_call):
            raise InvalidArgument(
                f"the call has {count} images and may have {most}: split it into several calls"
            )
        if fingerprint and fingerprint != self._embedder.fingerprint:
            raise FingerprintMismatch(
                "what the caller has", expected=self._embedder.fingerprint, found=fingerprint
            )
        self._note_call()

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
        futures: list[Future[Result]] = []
        try:
            for image in images:
                futures.append(self._embedder.submit(image))  # noqa: PERF401 - see finally
            await _all_done(futures)
            return [future.result() for future in futures]
        finally:
            for future in futures:
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
