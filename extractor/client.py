"""Clients of the service: `Client` blocks, `AsyncClient` is for asyncio; both have the same names.

Images travel several in a request, with a bounded number of requests under
way. What can fail for the moment (no server yet, a full queue) is tried again
by gRPC itself, by the policy in `_options`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeAlias

import grpc

from extractor import sources, wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.errors import ImageTooLarge, InvalidArgument, PenultimateError
from extractor.results import ImageLike, Result
from extractor.settings import DEFAULT_ADDRESS, MAX_MESSAGE_BYTES
from extractor.wire import Info

REQUEST_IMAGES = 16
REQUEST_BYTES = 2 * 2**20
REQUESTS_UNDER_WAY = 8

Pack: TypeAlias = list[bytes | PenultimateError]
"""What goes into one request: images to send, and in their places why others cannot be sent."""


class Client:
    """Embeds images through a running service; implements `Embeds`.

    Connects on first use. Works with one backbone for its whole life: when
    the server comes back with another, calls fail and vectors never mix.

    Parameters
    ----------
    address : str
        `HOST:PORT` of the server.
    timeout : float
        Seconds that one request may take, waiting and tries included.
    retries : int
        How often a request is tried again, with growing pauses, when the
        server is not there or its queue is full: 0 to 4.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = 60.0, retries: int = 4) -> None:
        self.address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(address, _options(retries))
        self._stub = ExtractorStub(self._channel)  # type: ignore[no-untyped-call]
        self._first: Info | None = None

    def info(self) -> Info:
        """What the server serves now.

        Raises
        ------
        Unavailable
            When no server is there, or it has not started yet.
        """
        try:
            info = wire.unpack_info(self._stub.GetInfo(pb.GetInfoRequest(), timeout=self._timeout))
        except grpc.RpcError as failure:
            raise wire.error_of(failure, self.address) from failure
        self._first = self._first or info
        return info

    @property
    def fingerprint(self) -> str:
        """The backbone's fingerprint, in hex; asks the server once."""
        return self._known().fingerprint

    @property
    def dim(self) -> int:
        """The embedding's width; asks the server once."""
        return self._known().dim

    @property
    def numerics(self) -> str:
        """What computes there, such as `cpu/fp32`; asks the server once."""
        return self._known().numerics

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order; errors as in `stream`."""
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory.

        Parameters
        ----------
        images : iterable of bytes, path or PIL image
            What is wrong with one of them is in its result.

        Raises
        ------
        Unavailable, Overloaded, DeadlineExceeded
            When the server is gone, full or too slow, and stays so.
        FingerprintMismatch
            When the server now serves another backbone than at first.
        """
        info = self._known()
        window: deque[tuple[Pack, Any]] = deque()
        try:
            for pack in packs(images, info):
                window.append((pack, self._stub.Embed.future(_request(pack, info), timeout=self._timeout)))
                while window and (len(window) >= REQUESTS_UNDER_WAY or window[0][1].done()):
                    yield from self._answer(*window.popleft())
            while window:
                yield from self._answer(*window.popleft())
        finally:
            for _, call in window:
                call.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known(self) -> Info:
        return self._first or self.info()

    def _answer(self, pack: Pack, call: Any) -> list[Result]:
        fingerprint = self._known().fingerprint
        try:
            return _results(pack, call.result(), fingerprint)
        except grpc.RpcError as failure:
            raise wire.error_of(failure, self.address, fingerprint) from failure


class AsyncClient:
    """`Client` for asyncio: the same names, awaited.

    `fingerprint`, `dim` and `numerics` are known once `info`, `embed` or
    `async with` has been awaited. Parameters as for `Client`.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = 60.0, retries: int = 4) -> None:
        self.address = address
        self._timeout = timeout
        self._channel = grpc.aio.insecure_channel(address, _options(retries))
        self._stub = ExtractorStub(self._channel)  # type: ignore[no-untyped-call]
        self._first: Info | None = None

    async def info(self) -> Info:
        """What the server serves now; errors as in `Client.info`."""
        try:
            info = wire.unpack_info(await self._stub.GetInfo(pb.GetInfoRequest(), timeout=self._timeout))
        except grpc.RpcError as failure:
            raise wire.error_of(failure, self.address) from failure
        self._first = self._first or info
        return info

    @property
    def fingerprint(self) -> str:
        """The backbone's fingerprint, in hex."""
        return self._asked().fingerprint

    @property
    def dim(self) -> int:
        """The embedding's width."""
        return self._asked().dim

    @property
    def numerics(self) -> str:
        """What computes there, such as `cpu/fp32`."""
        return self._asked().numerics

    async def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order; errors as in `Client.stream`."""
        return [result async for result in self.stream(images)]

    async def stream(self, images: Iterable[ImageLike]) -> AsyncIterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory; errors as in `Client.stream`.

        `images` is drawn from in a worker thread, so that reading files does
        not hold up the event loop.
        """
        info = self._first or await self.info()
        ready = packs(images, info)
        window: deque[tuple[Pack, Any]] = deque()
        try:
            while (pack := await asyncio.to_thread(next, ready, None)) is not None:
                window.append((pack, self._stub.Embed(_request(pack, info), timeout=self._timeout)))
                while window and (len(window) >= REQUESTS_UNDER_WAY or window[0][1].done()):
                    for result in await self._answer(*window.popleft()):
                        yield result
            while window:
                for result in await self._answer(*window.popleft()):
                    yield result
        finally:
            for _, call in window:
                call.cancel()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        await self.info()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _asked(self) -> Info:
        if self._first is None:
            raise InvalidArgument("the server has not been asked yet: `await client.info()` first")
        return self._first

    async def _answer(self, pack: Pack, call: Any) -> list[Result]:
        fingerprint = self._asked().fingerprint
        try:
            return _results(pack, await call, fingerprint)
        except grpc.RpcError as failure:
            raise wire.error_of(failure, self.address, fingerprint) from failure


def packs(images: Iterable[ImageLike], info: Info) -> Iterator[Pack]:
    """Read images and group them into requests of bounded size, lazily, in order."""
    pack: Pack = []
    size = 0
    for image in images:
        item = _read(image, info)
        cost = len(item) if isinstance(item, bytes) else 0
        if len(pack) == REQUEST_IMAGES or (pack and size + cost > REQUEST_BYTES):
            yield pack
            pack, size = [], 0
        pack.append(item)
        size += cost
    if pack:
        yield pack


def _read(image: ImageLike, info: Info) -> bytes | PenultimateError:
    try:
        data = sources.read(image)
    except PenultimateError as error:
        return error
    # A kibibyte for what is around the image in the message.
    limit = min(info.image_bytes, info.message_bytes - 1024, MAX_MESSAGE_BYTES - 1024)
    if len(data) > limit:
        return ImageTooLarge(f"the image has {len(data):,} bytes, and the server takes at most {limit:,}")
    return data


def _request(pack: Pack, info: Info) -> pb.EmbedRequest:
    images = [item for item in pack if isinstance(item, bytes)]
    return pb.EmbedRequest(images=images, fingerprint=info.fingerprint)


def _results(pack: Pack, response: pb.EmbedResponse, fingerprint: str) -> list[Result]:
    """The server's results, with those of images that were not sent in their places."""
    sent = sum(isinstance(item, bytes) for item in pack)
    answers = iter(wire.unpack_results(response, sent))
    return [
        next(answers) if isinstance(item, bytes) else Result(None, item, None, False, fingerprint)
        for item in pack
    ]


def _options(retries: int) -> list[tuple[str, Any]]:
    """How a channel behaves.

    A first contact gives up soon, so that a wrong address is seen at once;
    work under way waits some 20 s for a server that is being restarted.
    """
    service = "penultimate.v1.Extractor"
    methods = [
        _retrying({"service": service, "method": "GetInfo"}, min(retries, 2), first=0.2),
        _retrying({"service": service, "method": "Embed"}, retries, first=0.5),
    ]
    return [
        *wire.MESSAGE_LIMITS,
        ("grpc.service_config", json.dumps({"methodConfig": [method for method in methods if method]})),
        ("grpc.enable_retries", 1),
        # Requests are kept for another try as long as they fit in here: 256 KiB if not said.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


def _retrying(name: dict[str, str], retries: int, first: float) -> dict[str, Any] | None:
    if not 0 <= retries <= 4:
        raise InvalidArgument(f"retries is {retries}, and gRPC takes 0 to 4")
    if not retries:
        return None
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{first}s",
        "maxBackoff": "20s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    return {"name": [name], "retryPolicy": policy}
