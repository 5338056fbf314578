"""Clients of the service: `Client` blocks, `AsyncClient` is for asyncio; both have the same names.

Images travel several in a request, with a bounded number of requests under
way. What can fail for the moment (no server, a full queue) is tried again for
as long as `timeout` says: `_Patience`. Where the server remembers most images,
their digests are sent and not they: `_Recall`.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from extractor import sources, wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.errors import ImageTooLarge, InvalidArgument, PenultimateError, Unavailable, UnreadableFile
from extractor.results import ImageLike, Result, Vector
from extractor.settings import DEFAULT_ADDRESS, MAX_MESSAGE_BYTES
from extractor.wire import Info

REQUEST_IMAGES = 16
REQUEST_BYTES = 2 * 2**20
REQUESTS_UNDER_WAY = 8

WORTH_ASKING = 4
"""Images in a request from which on it may be asked first which of them are remembered."""

FIRST_CONTACT = 2.0
"""Seconds after which a server that never answered is given up, so that a wrong address is seen soon."""

Pack: TypeAlias = list[bytes | Result]
"""What goes into one request: images to send, and in their places the results that need no sending."""

Images: TypeAlias = Iterable[ImageLike] | AsyncIterable[ImageLike]

_OPTIONS = [
    *wire.MESSAGE_LIMITS,
    ("grpc.enable_retries", 0),  # we try again by ourselves, and for longer
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Client:
    """Embeds images through a running service; implements `Embeds`.

    Connects on first use. Works with one backbone for its whole life: when
    the server comes back with another, calls fail and vectors never mix.

    Parameters
    ----------
    address : str
        `HOST:PORT` of the server.
    timeout : float
        Seconds that the answer to one request is waited for. While the server
        is full, restarting or gone, the request is tried again until then.
        Only the first contact is given up after two seconds without a server.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = 60.0) -> None:
        self.address = address
        self._timeout = _checked(timeout)
        self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._stub = ExtractorStub(self._channel)  # type: ignore[no-untyped-call]
        self._closed = threading.Event()
        self._recall = _Recall()
        self._first: Info | None = None

    def info(self) -> Info:
        """What the server serves now.

        Raises
        ------
        Unavailable
            When no server is there, or it has not started yet.
        """
        patience = _Patience(min(FIRST_CONTACT, self._timeout))
        info = wire.unpack_info(self._ask(self._stub.GetInfo, pb.GetInfoRequest(), patience))
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

    def lookup(self, digests: Sequence[bytes]) -> list[Vector | None]:
        """What the server remembers for the images with these SHA-256 digests; None for what it does not.

        Nothing is computed. Errors as in `stream`.
        """
        info, found = self._known(), []
        for some in _batched(digests, info.items_per_call):
            answer = self._ask(self._stub.Lookup, _lookup(some, info), _Patience(self._timeout))
            found += wire.unpack_vectors(answer, len(some))
        return found

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order; errors as in `stream`."""
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory.

        Where the server remembers most of the images, only their digests are sent.

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
        window: deque[_Sent] = deque()
        try:
            for pack in packs(images, info):
                if self._recall.pays(pack):
                    digests = _digests(pack)
                    self._recall.fill(pack, digests, self.lookup(digests), info.fingerprint)
                window.append(_Sent(pack, self._embed(pack, self._timeout)))
                while window and (len(window) >= REQUESTS_UNDER_WAY or window[0].done()):
                    yield from self._answer(window)
            while window:
                yield from self._answer(window)
        finally:
            for sent in window:
                sent.cancel()

    def close(self) -> None:
        """Close the connection; calls under way fail with Unavailable."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known(self) -> Info:
        return self._first or self.info()

    def _answer(self, window: deque[_Sent]) -> list[Result]:
        """The results of the oldest request; whatever failed in the meantime is tried again with it."""
        patience = _Patience(self._timeout)
        oldest = window[0]
        answer = None
        while oldest.call is not None and (answer := self._wait(oldest.call, patience)) is None:
            for sent in window:
                if sent.failed():
                    sent.call = self._embed(sent.pack, patience.left())
        window.popleft()
        return _results(oldest.pack, answer)

    def _embed(self, pack: Pack, seconds: float) -> Any:
        """The call for what is to be sent, if anything is."""
        request = _request(pack, self._known())
        return self._send(self._stub.Embed, request, seconds) if request.images else None

    def _ask(self, method: Any, request: Message, patience: _Patience) -> Any:
        """The answer, after as many tries as it takes."""
        while (answer := self._wait(self._send(method, request, self._timeout), patience)) is None:
            pass
        return answer

    def _send(self, method: Any, request: Message, seconds: float) -> Any:
        if self._closed.is_set():
            raise _closed(self.address)
        return method.future(request, timeout=seconds, metadata=_size(request))

    def _wait(self, call: Any, patience: _Patience) -> Any:
        """The call's answer; None, after a pause, when it is worth another try."""
        try:
            return call.result()
        except grpc.RpcError as failure:
            pause = patience.pause(failure)
            if self._closed.is_set():
                raise _closed(self.address) from failure
            if pause is None:
                raise wire.error_of(failure, self.address, _fingerprint(self._first)) from failure
        self._closed.wait(pause)
        return None


class AsyncClient:
    """`Client` for asyncio: the same names, awaited.

    `fingerprint`, `dim` and `numerics` are known once `info`, `embed` or
    `async with` has been awaited. Parameters as for `Client`.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = 60.0) -> None:
        self.address = address
        self._timeout = _checked(timeout)
        self._channel = grpc.aio.insecure_channel(address, _OPTIONS)
        self._stub = ExtractorStub(self._channel)  # type: ignore[no-untyped-call]
        self._closed = False
        self._recall = _Recall()
        self._first: Info | None = None

    async def info(self) -> Info:
        """What the server serves now; errors as in `Client.info`."""
        patience = _Patience(min(FIRST_CONTACT, self._timeout))
        info = wire.unpack_info(await self._ask(self._stub.GetInfo, pb.GetInfoRequest(), patience))
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

    async def lookup(self, digests: Sequence[bytes]) -> list[Vector | None]:
        """What the server remembers for these digests; as `Client.lookup`."""
        info, found = self._first or await self.info(), []
        for some in _batched(digests, info.items_per_call):
            answer = await self._ask(self._stub.Lookup, _lookup(some, info), _Patience(self._timeout))
            found += wire.unpack_vectors(answer, len(some))
        return found

    async def embed(self, images: Images) -> list[Result]:
        """One result for each image, in order; errors as in `Client.stream`."""
        return [result async for result in self.stream(images)]

    async def stream(self, images: Images) -> AsyncIterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory; errors as in `Client.stream`.

        `images` may be an asynchronous iterable. One that is not is drawn from
        in a worker thread, where all files are read, so that nothing holds up
        the event loop.
        """
        info = self._first or await self.info()
        window: deque[asyncio.Task[list[Result]]] = deque()
        try:
            async for pack in _packs(images, info):
                window.append(asyncio.ensure_future(self._embed(pack, info)))
                while window and (len(window) >= REQUESTS_UNDER_WAY or window[0].done()):
                    for result in await window.popleft():
                        yield result
            while window:
                for result in await window.popleft():
                    yield result
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)

    async def close(self) -> None:
        """Close the connection; calls under way fail with Unavailable."""
        self._closed = True
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

    async def _embed(self, pack: Pack, info: Info) -> list[Result]:
        if self._recall.pays(pack):
            digests = await asyncio.to_thread(_digests, pack)
            self._recall.fill(pack, digests, await self.lookup(digests), info.fingerprint)
        request, answer = _request(pack, info), None
        if request.images:
            answer = await self._ask(self._stub.Embed, request, _Patience(self._timeout))
        return _results(pack, answer)

    async def _ask(self, method: Any, request: Message, patience: _Patience) -> Any:
        """The answer, after as many tries as it takes."""
        seconds = self._timeout
        while not self._closed:
            try:
                return await method(request, timeout=seconds, metadata=_size(request))
            except grpc.RpcError as failure:
                pause = patience.pause(failure)
                if pause is None:
                    raise wire.error_of(failure, self.address, _fingerprint(self._first)) from failure
            except asyncio.CancelledError:
                if not self._closed:
                    raise
                break
            await asyncio.sleep(pause)
            seconds = patience.left()
        raise _closed(self.address)


class _Patience:
    """When a request is tried again, and until when: one policy for both clients."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._tries = 0

    def left(self) -> float:
        """Seconds that are left for another try."""
        return self._end - time.monotonic()

    def pause(self, failure: grpc.RpcError) -> float | None:
        """Seconds to wait before another try; None to give up."""
        pause = wire.pause(failure, self._tries)
        self._tries += 1
        return pause if pause is not None and pause < self.left() else None


class _Recall:
    """Whether to ask for digests before images are sent: it pays where most are remembered.

    While the answers pay, it is asked for every request. After one that did
    not, twice as many requests as after the one before go without.
    """

    LONGEST = 64

    def __init__(self) -> None:
        self._paid = False
        self._pause = 1
        self._left = 0

    def pays(self, pack: Pack) -> bool:
        """Whether to ask for this one; a few images are sooner sent than asked for."""
        if len(pack) < WORTH_ASKING:
            return False
        self._left -= 1
        if self._left < 0 and not self._paid:
            self._left = self.LONGEST  # until the answer is here
            return True
        return self._paid

    def fill(self, pack: Pack, digests: list[bytes], vectors: list[Vector | None], fingerprint: str) -> None:
        """Put what is remembered in the places of its images."""
        self._paid = 2 * sum(vector is not None for vector in vectors) >= len(vectors)
        self._left = self._pause
        self._pause = 1 if self._paid else min(2 * self._pause, self.LONGEST)
        places = [place for place, item in enumerate(pack) if isinstance(item, bytes)]
        for place, digest, vector in zip(places, digests, vectors, strict=True):
            if vector is not None:
                pack[place] = Result(vector, None, digest, True, fingerprint)


@dataclass(slots=True)
class _Sent:
    """A request under way; without a call when there was nothing to send."""

    pack: Pack
    call: Any

    def done(self) -> bool:
        return self.call is None or self.call.done()

    def failed(self) -> bool:
        return self.call is not None and self.call.done() and self.call.code() is not grpc.StatusCode.OK

    def cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()


async def _packs(images: Images, info: Info) -> AsyncIterator[Pack]:
    """`packs` for an event loop."""
    if isinstance(images, AsyncIterable):
        async for some in _chunks(images):
            for pack in await asyncio.to_thread(list, packs(some, info)):
                yield pack
    else:
        draw = functools.partial(next, packs(images, info), None)
        while (pack := await asyncio.to_thread(draw)) is not None:
            yield pack


async def _chunks(images: AsyncIterable[ImageLike]) -> AsyncIterator[list[ImageLike]]:
    some: list[ImageLike] = []
    async for image in images:
        some.append(image)
        if len(some) == REQUEST_IMAGES:
            yield some
            some = []
    yield some


def packs(images: Iterable[ImageLike], info: Info) -> Iterator[Pack]:
    """Read images and group them into requests of bounded size, lazily, in order."""
    pack: Pack = []
    size = 0
    for image in sources.several(images):
        item = _read(image, info)
        cost = len(item) if isinstance(item, bytes) else 0
        if len(pack) == REQUEST_IMAGES or (pack and size + cost > REQUEST_BYTES):
            yield pack
            pack, size = [], 0
        pack.append(item)
        size += cost
    if pack:
        yield pack


def _read(image: ImageLike, info: Info) -> bytes | Result:
    try:
        data = sources.read(image)
        # A kibibyte for what is around the image in the message.
        limit = min(info.image_bytes, info.message_bytes - 1024, MAX_MESSAGE_BYTES - 1024)
        if len(data) <= limit:
            return data
        error: PenultimateError = ImageTooLarge(
            f"the image has {len(data):,} bytes, and the server takes at most {limit:,}"
        )
    except PenultimateError as known:
        error = known
    except Exception as unknown:  # noqa: BLE001 - one image fails alone, whatever happens
        error = UnreadableFile(f"an image cannot be read ({type(unknown).__name__}: {unknown})")
    return Result(None, error, None, False, info.fingerprint)


def _request(pack: Pack, info: Info) -> pb.EmbedRequest:
    return pb.EmbedRequest(images=_images(pack), fingerprint=info.fingerprint)


def _lookup(digests: Sequence[bytes], info: Info) -> pb.LookupRequest:
    return pb.LookupRequest(digests=digests, fingerprint=info.fingerprint)


def _results(pack: Pack, response: pb.EmbedResponse | None) -> list[Result]:
    """The server's results, with those that needed no sending in their places."""
    answers = iter(wire.unpack_results(response, len(_images(pack))) if response is not None else ())
    return [next(answers) if isinstance(item, bytes) else item for item in pack]


def _images(pack: Pack) -> list[bytes]:
    return [item for item in pack if isinstance(item, bytes)]


def _digests(pack: Pack) -> list[bytes]:
    return [hashlib.sha256(image).digest() for image in _images(pack)]


def _batched(digests: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (digests[begin : begin + size] for begin in range(0, len(digests), size))


def _checked(timeout: float) -> float:
    if not timeout > 0:
        raise InvalidArgument(f"timeout is {timeout}, and has to be more than 0 seconds")
    return timeout


def _size(request: Message) -> tuple[tuple[str, str]]:
    return ((wire.SIZE, str(request.ByteSize())),)


def _fingerprint(info: Info | None) -> str:
    return info.fingerprint if info else ""


def _closed(address: str) -> Unavailable:
    return Unavailable(f"the client of {address} is closed: open a new one")
