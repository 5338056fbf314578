"""The gRPC service `Collections`: unpack, call the library, pack."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import grpc

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.calls import Call, Calls, Handler, Request
from extractor.collections import KEEP, Collection, Entry, Filter, Item
from extractor.collections.item import Keep
from extractor.collections_service.adding import Addition, Turn, Turns
from extractor.collections_service.occupied import Occupied
from extractor.collections_service.searching import search
from extractor.collections_service.shelf import Shelf, Volume
from extractor.collections_wire import messages as wire
from extractor.collections_wire.messages import SERVICE
from extractor.collections_wire.values import Record, Summary
from extractor.errors import FingerprintMismatch, InvalidArgument, NotFound
from extractor.results import Vector
from extractor.settings import DataFolder
from extractor.submission import Submits

PAGE_ITEMS = 256
"""Of a listing, where the caller does not say."""

MOST_PIXELS = 512
"""Of a thumbnail's longer side: larger ones would not be small pictures any more."""

SMALL = 64 * 2**10
"""Bytes to expect of a request without images and vectors that says nothing of its size."""


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
        return self._calls.unary(
            f"{SERVICE}/{method}", handler, kind, room, gate=lambda _: self._calls.check_ready()
        )

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
            volume = await self._volume(addition.collection, addition.fingerprint)
            results = await addition.carry_out(volume, self._embedder, call, turn)
        finally:
            turn.pass_on()
        return wire.pack_added(results, volume.collection.fingerprint)

    async def get_items(self, request: pb.GetItemsRequest, call: Call) -> pb.GetItemsResponse:
        """Items by their ids."""
        self._accept(call, len(request.ids))
        volume = await self._volume(request.collection)
        results = await volume.read(lambda collection: [_got(collection, id, request) for id in request.ids])
        collection = volume.collection
        return pb.GetItemsResponse(fingerprint=collection.fingerprint, dim=collection.dim, results=results)

    async def list_items(self, request: pb.ListItemsRequest, call: Call) -> pb.ListItemsResponse:
        """One page of items."""
        self._accept(call, 1)
        volume = await self._volume(request.collection)
        return await volume.read(partial(_page, request=request, most=self._calls.limits.items_per_call))

    async def set_items(self, request: pb.SetItemsRequest, call: Call) -> pb.SetItemsResponse:
        """Change label and metadata."""
        self._accept(call, len(request.ids))
        volume = await self._volume(request.collection)
        label: str | Keep | None = None if request.clear_label else KEEP
        if request.HasField("label"):
            label = request.label
        ids, metadata = list(request.ids), wire.unpack_metadata(request.metadata)
        return pb.SetItemsResponse(
            count=await volume.writer.change(lambda items: items.set(ids, label=label, metadata=metadata))
        )

    async def delete_items(self, request: pb.DeleteItemsRequest, call: Call) -> pb.DeleteItemsResponse:
        """Delete items."""
        self._accept(call, len(request.ids))
        volume = await self._volume(request.collection)
        ids: Sequence[str] = list(request.ids)
        return pb.DeleteItemsResponse(count=await volume.writer.change(lambda items: items.delete(ids)))

    async def search(self, request: pb.SearchRequest, call: Call) -> pb.SearchResponse:
        """Neighbours of each query."""
        self._accept(call, len(request.queries))
        volume = await self._volume(request.collection, request.fingerprint)
        found = await search(volume, self._embedder, request, call)
        return pb.SearchResponse(
            fingerprint=volume.collection.fingerprint, results=map(wire.pack_found, found)
        )

    def _accept(self, call: Call, count: int) -> None:
        """Take on a request for so many items or queries, whatever comes."""
        self._calls.check_ready()
        if count > (most := self._calls.limits.items_per_call):
            raise InvalidArgument(
                f"the call has {count} items and may have {most}: split it into several calls"
            )
        self._calls.accept(call, count)

    async def _volume(self, name: str, fingerprint: str = "") -> Volume:
        """The collection, if it is of the fingerprint that the caller has, if any."""
        volume = await self._shelf.volume(name)
        if fingerprint and fingerprint != volume.collection.fingerprint:
            raise FingerprintMismatch(
                "what the caller has", expected=volume.collection.fingerprint, found=fingerprint
            )
        return volume

    async def _describe(self, name: str) -> pb.CollectionInfo:
        return wire.pack_summary(await (await self._volume(name)).read(_summary))


def _making(request: pb.CreateCollectionRequest, embedder: Submits) -> Callable[[DataFolder], Collection]:
    own = not (request.fingerprint or request.dim or request.backbone)
    facts: dict[str, Any] = {
        "fingerprint": embedder.fingerprint if own else request.fingerprint,
        "dim": embedder.dim if own else request.dim,
        "backbone": embedder.bundle.manifest.backbone if own else request.backbone,
    }
    if not all(facts.values()):
        raise InvalidArgument("fingerprint, dim and backbone go together: give all three, or none of them")
    if request.HasField("thumbnails"):
        facts["thumbnails"] = _checked_side(request.thumbnails)
    make = Collection.open_or_create if request.exist_ok else Collection.create
    return lambda data: make(data, request.name, **facts)


def _checked_side(pixels: int) -> int:
    if pixels > MOST_PIXELS:
        raise InvalidArgument(f"thumbnails of {pixels} pixels are too large: ask for at most {MOST_PIXELS}")
    return pixels


def _summary(collection: Collection) -> Summary:
    info = collection.info()
    return Summary(
        name=info.name,
        fingerprint=info.fingerprint,
        backbone=info.backbone,
        dim=info.dim,
        count=info.count,
        bytes=info.bytes,
        labels={label: count for label, count in info.labels.items() if label is not None},
        thumbnails=info.thumbnails,
        index=info.index.kind,
        reason=info.index.reason,
        recall=info.index.recall,
        segments=info.index.segments,
        tail=info.index.tail,
        deleted=info.index.deleted,
    )


def _got(collection: Collection, id: str, request: pb.GetItemsRequest) -> pb.GetItemResult:
    try:
        item = collection.get(id)
    except NotFound as error:
        return pb.GetItemResult(error=wire.pack_error(error))
    record = _record(item, vector=item.vector if request.vectors else None)
    return pb.GetItemResult(
        item=wire.pack_record(replace(record, thumbnail=item.thumbnail if request.thumbnails else b""))
    )


def _record(item: Item | Entry, vector: Vector | None) -> Record:
    return Record(
        id=item.id,
        digest=item.digest,
        vector=vector,
        label=item.label,
        metadata=item.metadata,
        source=item.file.source if item.file else "",
    )


def _page(collection: Collection, request: pb.ListItemsRequest, most: int) -> pb.ListItemsResponse:
    """So many items as one answer may have, after the last of the page before."""
    where = Filter.parse(request.filter) if request.filter else None
    size = min(request.page_size or PAGE_ITEMS, most)
    after = _after(request.page_token)
    entries = list(collection.items(where, vectors=request.vectors, after=after, limit=size + 1))
    page = entries[:size]
    return pb.ListItemsResponse(
        fingerprint=collection.fingerprint,
        dim=collection.dim,
        items=[wire.pack_record(_record(entry, entry.vector)) for entry in page],
        next_page_token=str(page[-1].number) if len(entries) > size else "",
    )


def _after(token: str) -> int:
    if token and not (token.isdecimal() and len(token) < 19):
        raise InvalidArgument(f"{token[:40]!r} is no page token: give that of the answer before, or none")
    return int(token or 0)
