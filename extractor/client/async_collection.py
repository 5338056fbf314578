"""A served collection, for the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import grpc

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.client.collecting import Questions
from extractor.client.collection_base import CollectionBase, Outbox, late, one_record, records
from extractor.client.drawing import drawn
from extractor.client.patience import Patience
from extractor.client.peers import Peer
from extractor.collections_wire import messages
from extractor.collections_wire.values import Added, Example, Found, NewItem, Query, Record, Summary
from extractor.errors import FingerprintMismatch, Unavailable
from extractor.keep import KEEP, Keep

if TYPE_CHECKING:
    from extractor.client.asynchronous import AsyncClient


class AsyncRemoteCollection(CollectionBase):
    """`RemoteCollection` for asyncio: the same names, awaited. Items, queries and their images are
    drawn and read in worker threads, so that nothing holds up the event loop.
    """

    def __init__(self, client: AsyncClient, name: str, fingerprint: str | None = None) -> None:
        super().__init__(name, fingerprint)
        self._client = client

    async def create(self, *, thumbnails: int | None = None, exist_ok: bool = False) -> Summary:
        """As `RemoteCollection.create`."""
        server = (await self._client._asked()).fingerprint
        request = self._creation(server, thumbnails=thumbnails, exist_ok=exist_ok)
        return messages.unpack_summary(await self._ask("CreateCollection", request))

    async def info(self) -> Summary:
        """As `RemoteCollection.info`."""
        request = pb.GetCollectionRequest(name=self.name)
        return messages.unpack_summary(await self._ask("GetCollection", request))

    async def drop(self) -> None:
        """As `RemoteCollection.drop`."""
        await self._ask("DropCollection", pb.DropCollectionRequest(name=self.name))

    async def add(
        self, items: Iterable[NewItem] | AsyncIterable[NewItem], *, replace: bool = True
    ) -> list[Added]:
        """As `RemoteCollection.add`; the items may come asynchronously."""
        return [result async for result in self.stream(items, replace=replace)]

    async def stream(
        self, items: Iterable[NewItem] | AsyncIterable[NewItem], *, replace: bool = True
    ) -> AsyncIterator[Added]:
        """As `RemoteCollection.stream`; the items may come asynchronously."""
        client = self._client
        outbox = self._outbox(drawn(items), await client._asked(), replace=replace)
        patience = client._request(client._timeout)
        while not client._closing.done:
            with client._peers.chosen() as peer:
                try:
                    async with aclosing(self._converse(peer, outbox)) as acknowledged:
                        async for results in acknowledged:
                            patience = client._request(client._timeout)
                            for result in results:
                                yield result
                    return
                except grpc.RpcError as failure:
                    pause = await self._pause(peer, failure, patience)
            await asyncio.sleep(pause)
        raise client._closed_error()

    async def search(
        self,
        queries: Iterable[Query | Example],
        k: int = 10,
        *,
        where: str = "",
        min_score: float | None = None,
        attributes: bool = False,
    ) -> list[Found]:
        """As `RemoteCollection.search`."""
        info = await self._client._asked()
        head = self._search_head(info, k, where, min_score, attributes=attributes)
        questions = Questions(queries, head, info)
        requests = questions.requests()
        while (drawn := await asyncio.to_thread(next, requests, None)) is not None:
            places, request = drawn
            questions.fill(places, await self._ask("Search", request))
        return questions.answers()

    async def get(self, id: str) -> Record:
        """As `RemoteCollection.get`."""
        return one_record(await self._ask("GetItems", self._getting(id)))

    async def delete(self, ids: Iterable[str]) -> int:
        """As `RemoteCollection.delete`."""
        requests = self._deletions(ids, await self._client._asked())
        return sum([(await self._ask("DeleteItems", request)).count for request in requests])

    async def set(
        self,
        ids: Iterable[str],
        *,
        label: str | Keep | None = KEEP,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """As `RemoteCollection.set`."""
        requests = self._changes(ids, label, metadata, await self._client._asked())
        return sum([(await self._ask("SetItems", request)).count for request in requests])

    async def items(self, *, where: str = "", vectors: bool = False) -> AsyncIterator[Record]:
        """As `RemoteCollection.items`."""
        token: str | None = ""
        while token is not None:
            page = await self._ask("ListItems", self._listing(where, token, vectors=vectors))
            for record in records(page):
                yield record
            token = page.next_page_token or None

    async def _ask(self, method: str, request: Any) -> Any:
        message = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            return await self._client._ask(method, message, self._client._timeout)
        except FingerprintMismatch as error:
            raise await self._explained(error) from error

    async def _pause(self, peer: Peer, failure: grpc.RpcError, patience: Patience) -> float:
        try:
            return self._client._pause(peer, failure, patience)
        except FingerprintMismatch as error:
            raise await self._explained(error) from error

    async def _explained(self, error: FingerprintMismatch) -> FingerprintMismatch:
        server = (await self._client._asked()).fingerprint
        return self._mismatch(error, server, (await self.info()).fingerprint)

    async def _converse(self, peer: Peer, outbox: Outbox) -> AsyncGenerator[list[Added]]:
        """Send what is left, and give the results as they are acknowledged."""
        call = peer.add_stream(metadata=self._client._access.headers())
        try:
            for message in outbox.unacknowledged():
                await self._write(call, message, peer)
            while await self._send(outbox, call, peer):
                yield outbox.acknowledged(await self._answer(call, peer))
            peer.succeeded()
        except (asyncio.CancelledError, grpc.aio.UsageError) as ended:
            if not self._client._closing.done:
                raise
            raise self._client._closed_error() from ended
        finally:
            call.cancel()

    async def _send(self, outbox: Outbox, call: Any, peer: Peer) -> bool:
        """Send as much as there is room for; whether an answer is to be waited for."""
        while outbox.has_room and (message := await asyncio.to_thread(outbox.next)) is not None:
            await self._write(call, message, peer)
        return not outbox.is_empty

    async def _write(self, call: Any, message: bytes, peer: Peer) -> None:
        """Send a message, unless the call is over: why it is, is then read in place of an answer."""
        try:
            async with asyncio.timeout(self._client._timeout):
                with suppress(asyncio.InvalidStateError):
                    await call.write(message)
        except TimeoutError:
            raise late(peer.address) from None
        except grpc.aio.AioRpcError as failure:
            raise _broken(failure) from failure

    async def _answer(self, call: Any, peer: Peer) -> pb.AddResponse:
        """The next one; the call itself has no deadline, which would be one for all its images."""
        try:
            async with asyncio.timeout(self._client._timeout):
                answer: Any = await call.read()
        except TimeoutError:
            raise late(peer.address) from None
        if answer is grpc.aio.EOF:
            raise Unavailable(f"{peer.address} ended the stream before it had answered all of it")
        acknowledged: pb.AddResponse = answer
        return acknowledged


def _broken(failure: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
    """Why a message could not be sent; where only gRPC's core knows, as of a server that has gone."""
    if failure.details() != "Internal error from Core":
        return failure
    known = failure.initial_metadata(), failure.trailing_metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, *known, "the stream broke while it was written")
