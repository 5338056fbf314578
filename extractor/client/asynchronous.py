"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.collections_pb2 import ListCollectionsRequest
from extractor._pb.penultimate.v1.heads_pb2 import ListHeadsRequest
from extractor.client import packing
from extractor.client.access import options_of
from extractor.client.async_collection import AsyncRemoteCollection
from extractor.client.async_head import AsyncRemoteHead
from extractor.client.base import BaseClient
from extractor.client.packing import REQUEST_IMAGES, Images, Pack
from extractor.client.peers import Peer
from extractor.client.progress import Progress, counting
from extractor.errors import InvalidArgument
from extractor.heads_wire.messages import unpack_info
from extractor.heads_wire.values import HeadInfo
from extractor.results import ImageLike, Result, Vector
from extractor.wire import Info

T = TypeVar("T")

Job: TypeAlias = tuple[Coroutine[Any, Any, list[T]], int]
"""Some of the work, and the bytes that it holds in memory."""


class AsyncClient(BaseClient[grpc.aio.Channel]):
    """`Client` for asyncio: the same names, awaited.

    `fingerprint`, `dim` and `numerics` are known once `info`, `embed` or
    `async with` has been awaited. Parameters as for `Client`.
    """

    async def info(self, *, timeout: float | None = None) -> Info:
        """What the servers serve now; as `Client.info`."""
        patience = self._greeting(timeout)
        while not self._closing.done:
            info = self._settled(*await self._greet(patience.for_try()), patience)
            if isinstance(info, Info):
                return info
            await asyncio.sleep(info)
        raise self._closed_error()

    async def lookup(self, digests: Sequence[bytes], *, timeout: float | None = None) -> list[Vector | None]:
        """What the servers remember for these digests; as `Client.lookup`."""
        info, seconds = await self._asked(), self._seconds(timeout)

        async def jobs() -> AsyncIterator[Job[Vector | None]]:
            for some in packing.batched(packing.checked(digests), packing.most_items(info)):
                yield self._vectors(some, seconds), 0

        return [vector async for vector in self._answers(jobs())]

    async def embed(
        self, images: Images, *, timeout: float | None = None, progress: Progress = False
    ) -> list[Result]:
        """One result for each image, in order; parameters and errors as in `Client.stream`."""
        return [result async for result in self.stream(images, timeout=timeout, progress=progress)]

    def stream(
        self, images: Images, *, timeout: float | None = None, progress: Progress = False
    ) -> AsyncIterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory; as `Client.stream`.

        `images` may be an asynchronous iterable. One that is not is drawn from
        in a worker thread, where all files are read, so that nothing holds up
        the event loop.
        """
        results = self._stream(images, self._seconds(timeout))
        return _counted(results, progress, images) if progress else results

    def collection(self, name: str, *, fingerprint: str | None = None) -> AsyncRemoteCollection:
        """A collection of the server's; as `Client.collection`."""
        self._check_single()
        return AsyncRemoteCollection(self, name, fingerprint)

    async def collections(self) -> list[str]:
        """The names of the server's collections, in order."""
        self._check_single()
        request = ListCollectionsRequest().SerializeToString()
        return list((await self._ask("ListCollections", request, self._timeout)).names)

    def head(self, name: str, *, fingerprint: str | None = None) -> AsyncRemoteHead:
        """A head of the server's; as `Client.head`."""
        self._check_single()
        return AsyncRemoteHead(self, name, fingerprint)

    async def heads(self) -> list[HeadInfo]:
        """The server's heads that were fitted, by name."""
        self._check_single()
        request = ListHeadsRequest().SerializeToString()
        return [unpack_info(each) for each in (await self._ask("ListHeads", request, self._timeout)).heads]

    async def close(self) -> None:
        """Close the connections; calls under way fail with Unavailable."""
        self._closing.close()
        for peer in self._peers.all:
            await peer.channel.close()

    async def __aenter__(self) -> AsyncClient:
        await self.info()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self, address: str) -> grpc.aio.Channel:
        options = options_of(address)
        if self._access.credentials:
            return grpc.aio.secure_channel(address, self._access.credentials, options)
        return grpc.aio.insecure_channel(address, options)

    def _known(self) -> Info:
        if self._first is None:
            raise InvalidArgument("the server has not been asked yet: `await client.info()` first")
        return self._first

    async def _asked(self) -> Info:
        return self._first or await self.info()

    async def _greet(self, seconds: float) -> tuple[dict[str, Info], dict[Peer, grpc.RpcError]]:
        """What each server says, by its address, and why others say nothing."""
        said: dict[str, Info] = {}
        failed: dict[Peer, grpc.RpcError] = {}
        greeting = pb.GetInfoRequest().SerializeToString()

        async def greet(peer: Peer) -> None:
            try:
                said[peer.address] = wire.unpack_info(await self._call(peer, "GetInfo", greeting, seconds))
            except grpc.RpcError as failure:
                failed[peer] = failure

        await asyncio.gather(*map(greet, self._peers.all))
        return said, failed

    def _stream(self, images: Images, seconds: float) -> AsyncGenerator[Result]:
        return self._answers(self._jobs(images, seconds))

    async def _answers(self, jobs: AsyncIterator[Job[T]]) -> AsyncGenerator[T]:
        """The jobs' results, in order, with so many under way as the window holds."""
        window: deque[tuple[asyncio.Task[list[T]], int]] = deque()
        under_way = 0
        try:
            async for work, size in jobs:
                window.append((asyncio.create_task(work), size))
                under_way += size
                while window and (self._window.is_full(len(window), under_way) or window[0][0].done()):
                    task, size = window.popleft()
                    under_way -= size
                    for result in await task:
                        yield result
            while window:
                for result in await window.popleft()[0]:
                    yield result
        finally:
            await _abandon([task for task, _ in window])

    async def _jobs(self, images: Images, seconds: float) -> AsyncIterator[Job[Result]]:
        """The work on the images, in packs; where it is uncertain whether to ask first, that is found out."""
        async for pack in _packs(images, await self._asked(), self._recall.room):
            if self._recall.attempts(len(pack.unknown)):
                await self._recollect(pack, seconds, attempt=True)
            yield self._answer(pack, seconds), pack.size

    async def _answer(self, pack: Pack, seconds: float) -> list[Result]:
        """Ask what is remembered, where that pays, and send the rest."""
        if self._recall.pays(len(pack.unknown)):
            await self._recollect(pack, seconds, attempt=False)
        info = self._known()
        for places in pack.parts(info):
            images = (pack.unknown[place] for place in places)
            request = wire.pack_images(images, info.fingerprint, self._form)
            answer = await self._ask("Embed", request, seconds)
            pack.fill(places, wire.unpack_results(answer, len(places)))
        return pack.answer()

    async def _recollect(self, pack: Pack, seconds: float, *, attempt: bool) -> None:
        """Put what is remembered in its places in the pack."""
        places, digests = list(pack.unknown), await asyncio.to_thread(pack.digests)
        found = await self._look_up(digests, seconds)
        known = pack.fill(places, packing.recalled(found, digests))
        self._recall.learn(known, len(digests), attempt=attempt)

    async def _vectors(self, digests: Sequence[bytes], seconds: float) -> list[Vector | None]:
        return packing.vectors(await self._look_up(digests, seconds), len(digests))

    async def _look_up(self, digests: Sequence[bytes], seconds: float) -> pb.LookupResponse:
        fingerprint = self._known().fingerprint
        request = pb.LookupRequest(digests=digests, fingerprint=fingerprint, form=self._form)
        answer: pb.LookupResponse = await self._ask("Lookup", request.SerializeToString(), seconds)
        return answer

    async def _ask(self, method: str, message: bytes, seconds: float) -> Any:
        """The answer, after as many tries as it takes."""
        patience = self._request(seconds)
        while not self._closing.done:
            with self._peers.chosen() as peer:
                try:
                    return await self._call(peer, method, message, patience.for_try())
                except grpc.RpcError as failure:
                    pause = self._pause(peer, failure, patience)
            await asyncio.sleep(pause)
        raise self._closed_error()

    async def _call(self, peer: Peer, method: str, message: bytes, seconds: float) -> Any:
        metadata = self._metadata(message)
        try:
            answer = await peer.methods[method](message, timeout=seconds, metadata=metadata)
        except (asyncio.CancelledError, grpc.aio.UsageError) as ended:  # by whoever waits, or by `close`
            if not self._closing.done:
                raise
            raise self._closed_error() from ended
        peer.succeeded()
        return answer


async def _abandon(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _packs(images: Images, info: Info, room_for: packing.RoomFor) -> AsyncIterator[Pack]:
    """`packing.packs` for an event loop, which nothing that has to be read holds up."""
    if isinstance(images, AsyncIterable):
        async for some in _chunks(images):
            for pack in await asyncio.to_thread(list, packing.packs(some, info, room_for)):
                yield pack
        return
    drawn = packing.packs(images, info, room_for)
    if _in_memory(images):
        for pack in drawn:
            yield pack
        return
    draw = functools.partial(next, drawn, None)
    while (pack := await asyncio.to_thread(draw)) is not None:
        yield pack


def _in_memory(images: Images) -> bool:
    return isinstance(images, list | tuple) and all(type(image) is bytes for image in images)


async def _chunks(images: AsyncIterable[ImageLike]) -> AsyncIterator[list[ImageLike]]:
    some: list[ImageLike] = []
    async for image in images:
        some.append(image)
        if len(some) == REQUEST_IMAGES:
            yield some
            some = []
    yield some


async def _counted(
    results: AsyncGenerator[Result], progress: Progress, images: Images
) -> AsyncGenerator[Result]:
    async with aclosing(results):
        with counting(progress, images) as count:
            async for result in results:
                yield result
                count()
