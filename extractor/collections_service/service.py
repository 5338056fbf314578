"""The gRPC service `Collections`: unpack, call the library, pack."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls, Handler, Request
from extractor.collections import KEEP, Collection
from extractor.collections.item import Keep
from extractor.collections_service.adding import Addition, Turn, Turns
from extractor.collections_service.occupied import Occupied
from extractor.collections_service.reading import items, page, summary
from extractor.collections_service.searching import search
from extractor.collections_service.shelf import Shelf, Volume
from extractor.collections_wire import messages as wire
from extractor.collections_wire.messages import SERVICE
from extractor.errors import FingerprintMismatch, InvalidArgument
from extractor.settings import DataFolder
from extractor.submission import Submits

MOST_DIM = 2**16

MOST_PIXELS = 512
"""Of a thumbnail's longer side: larger ones would not be small pictures any more."""

SMALL = 64 * 2**10
"""Bytes to expect of a request without images and vectors that says nothing of its size."""


_NAMING = re.compile(r"[!-~]{1,200}")
"""What names a backbone: it has to go into a header."""


class CollectionsService:
    """Answers for the collections of one data folder, with one embedder for images.

    Parameters
    ----------
    embedder : Embedder
    data : DataFolder
    calls : Calls
        What it has in common with the other services on the port.
    """

    def __init__(self, embedder: Submits, data: DataFolder, calls: Calls) -> None:
        self._embedder = embedder
        self._calls = calls
        self._shelf = Shelf(data)
        self._occupied = Occupied(data)
        self._turns = Turns()

    def occupy(self, address: str) -> None:
        """Be the only server of these collections; raises AlreadyExists when there is another."""
        self._occupied.take(address)

    async def close(self) -> None:
        """Close the collections, when what was begun is done."""
        await self._shelf.close()
        self._occupied.leave()

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method."""
        large = self._calls.limits.unsaid_bytes
        stream = self._calls.stream(f"{SERVICE}/AddStream", self.add_in_turn, pb.AddRequest)
        return {
            "CreateCollection": self._unary("CreateCollection", self.create, pb.CreateCollectionRequest),
            "GetCollection": self._unary("GetCollection", self.get_collection, pb.GetCollectionRequest),
            "ListCollections": self._unary(
                "ListCollections", self.list_collections, pb.ListCollectionsRequest
            ),
            "DropCollection": self._unary("DropCollection", self.drop, pb.DropCollectionRequest),
            "Add": self._unary("Add", self.add, pb.AddRequest, large),
            "AddStream": stream,
            "GetItems": self._unary("GetItems", self.get_items, pb.GetItemsRequest),
            "SetItems": self._unary("SetItems", self.set_items, pb.SetItemsRequest),
            "ListItems": self._unary("ListItems", self.list_items, pb.ListItemsRequest),
            "DeleteItems": self._unary("DeleteItems", self.delete_items, pb.DeleteItemsRequest),
            "Search": self._unary("Search", self.search, pb.SearchRequest, large),
        }

    def _unary(
        self, method: str, handler: Handler[Request], kind: type[Request], room: int = SMALL
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        return self._calls.unary(f"{SERVICE}/{method}", handler, kind, room, gate=self._calls.ready)

    async def create(self, request: pb.CreateCollectionRequest, call: Call) -> pb.CollectionInfo:
        """Make an empty collection, of the server's own backbone when none is named."""
        self._accept(call, 1)
        await self._shelf.create(_making(request, self._embedder))
        return await self._describe(request.name)

    async def get_collection(self, request: pb.GetCollectionRequest, _call: Call) -> pb.CollectionInfo:
        """What a collection holds."""
        return await self._describe(request.name)

    async def list_collections(
        self, _request: pb.ListCollectionsRequest, _call: Call
    ) -> pb.ListCollectionsResponse:
        """All names."""
        return pb.ListCollectionsResponse(names=await self._shelf.names())

    async def drop(self, request: pb.DropCollectionRequest, call: Call) -> pb.DropCollectionResponse:
        """Remove a collection."""
        self._accept(call, 1)
        await self._shelf.drop(request.name)
        return pb.DropCollectionResponse()

    def add(self, request: pb.AddRequest, call: Call) -> Awaitable[pb.AddResponse]:
        """Add items; on disk when answered."""
        self._accept(call, len(request.items))
        return self._add(Addition(request), call, Turn(None))

    def add_in_turn(self, request: pb.AddRequest, call: Call) -> Awaitable[pb.AddResponse]:
        """The same for one request of a stream, committed after those before it."""
        self._accept(call, len(request.items))
        return self._add(Addition(request), call, self._turns.take(call))

    async def _add(self, addition: Addition, call: Call, turn: Turn) -> pb.AddResponse:
        try:
            async with self._volume(addition.collection, addition.fingerprint) as volume:
                results = await addition.carry_out(volume, self._embedder, call, turn)
                return wire.pack_added(results, volume.collection.fingerprint)
        finally:
            turn.pass_on()

    async def get_items(self, request: pb.GetItemsRequest, call: Call) -> pb.GetItemsResponse:
        """Items by their ids."""
        self._accept(call, len(request.ids))
        async with self._volume(request.collection) as volume:
            return await volume.read(partial(items, request=request, room=self._room))

    async def list_items(self, request: pb.ListItemsRequest, call: Call) -> pb.ListItemsResponse:
        """One page of items."""
        self._accept(call, 1)
        async with self._volume(request.collection) as volume:
            return await volume.read(partial(page, request=request, most=self._calls.limits.items_per_call))

    async def set_items(self, request: pb.SetItemsRequest, call: Call) -> pb.SetItemsResponse:
        """Change label and metadata."""
        self._accept(call, len(request.ids))
        label: str | Keep | None = None if request.clear_label else KEEP
        if request.HasField("label"):
            label = request.label
        ids, metadata = list(request.ids), wire.unpack_metadata(request.metadata)
        async with self._volume(request.collection) as volume:
            count = await volume.writer.change(lambda there: there.set(ids, label=label, metadata=metadata))
        return pb.SetItemsResponse(count=count)

    async def delete_items(self, request: pb.DeleteItemsRequest, call: Call) -> pb.DeleteItemsResponse:
        """Delete items."""
        self._accept(call, len(request.ids))
        ids: Sequence[str] = list(request.ids)
        async with self._volume(request.collection) as volume:
            count = await volume.writer.change(lambda there: there.delete(ids))
        return pb.DeleteItemsResponse(count=count)

    async def search(self, request: pb.SearchRequest, call: Call) -> pb.SearchResponse:
        """Neighbours of each query."""
        examples = sum(len(query.like) + len(query.unlike) for query in request.queries)
        self._accept(call, max(len(request.queries), examples))
        async with self._volume(request.collection, request.fingerprint) as volume:
            results = await search(volume, self._embedder, request, call, self._room)
            return pb.SearchResponse(fingerprint=volume.collection.fingerprint, results=results)

    @property
    def _room(self) -> int:
        """Bytes for items in an answer, with a kibibyte for what is around them."""
        return self._calls.limits.message_bytes - 1024

    def _accept(self, call: Call, count: int) -> None:
        """Take on a request for so many items or queries, whatever comes."""
        self._calls.check_ready()
        if count > (most := self._calls.limits.items_per_call):
            raise InvalidArgument(
                f"the call has {count} items and may have {most}: split it into several calls"
            )
        self._calls.accept(call, count)

    @asynccontextmanager
    async def _volume(self, name: str, fingerprint: str = "") -> AsyncIterator[Volume]:
        """The collection, if it is of the fingerprint that the caller has, if any."""
        async with self._shelf.lent(name) as volume:
            if fingerprint and fingerprint != volume.collection.fingerprint:
                raise FingerprintMismatch(
                    "what the caller has", expected=volume.collection.fingerprint, found=fingerprint
                )
            yield volume

    async def _describe(self, name: str) -> pb.CollectionInfo:
        async with self._volume(name) as volume:
            return wire.pack_summary(await volume.read(summary))


def _making(request: pb.CreateCollectionRequest, embedder: Submits) -> Callable[[DataFolder], Collection]:
    own = not (request.fingerprint or request.dim or request.backbone)
    facts: dict[str, Any] = {
        "fingerprint": embedder.fingerprint if own else request.fingerprint,
        "dim": embedder.dim if own else request.dim,
        "backbone": embedder.bundle.manifest.backbone if own else request.backbone,
    }
    if not all(facts.values()):
        raise InvalidArgument("fingerprint, dim and backbone go together: give all three, or none of them")
    if not (_NAMING.fullmatch(facts["fingerprint"]) and _NAMING.fullmatch(facts["backbone"])):
        raise InvalidArgument("fingerprint and backbone are up to 200 visible ASCII characters")
    if facts["dim"] > MOST_DIM:
        raise InvalidArgument(f"vectors of {facts['dim']:,} numbers are too wide: at most {MOST_DIM:,}")
    if request.HasField("thumbnails"):
        facts["thumbnails"] = _checked_side(request.thumbnails)
    make = Collection.open_or_create if request.exist_ok else Collection.create
    return lambda data: make(data, request.name, **facts)


def _checked_side(pixels: int) -> int:
    if pixels > MOST_PIXELS:
        raise InvalidArgument(f"thumbnails of {pixels} pixels are too large: ask for at most {MOST_PIXELS}")
    return pixels
