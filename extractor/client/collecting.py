"""What both clients send to a collection: items and queries in requests, answers to their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extractor import sources
from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.client.packing import Room, message_room, within
from extractor.collections_wire import messages
from extractor.collections_wire.values import Added, Example, Found, NewItem, Query
from extractor.errors import ImageTooLarge, InvalidArgument, PenultimateError, UnreadableFile
from extractor.lists import listed
from extractor.wire import Info

TOGETHER = Room(64, 2 * 2**20)
"""Items, and bytes of them, in a request; queries go together as well."""


@dataclass(slots=True)
class Parcel:
    """Some items and, one after the other, what became of them.

    Attributes
    ----------
    request : AddRequest
        Those that can be sent.
    results : list of Added or None
        None for those.
    """

    request: pb.AddRequest
    results: list[Added | None] = field(default_factory=list)
    size: int = 0

    def has_room(self, room: Room, size: int) -> bool:
        """Whether an item of so many bytes goes in; the first always does."""
        return not self.results or (len(self.results) < room.images and self.size + size <= room.bytes)

    def add(self, item: pb.NewItem | Added, size: int) -> None:
        """Take an item, or the result of one that cannot be sent."""
        if isinstance(item, Added):
            self.results.append(item)
            return
        self.request.items.append(item)
        self.results.append(None)
        self.size += size

    def message(self) -> bytes:
        """The request as it travels."""
        return self.request.SerializeToString()

    def answered(self, answer: pb.AddResponse) -> list[Added]:
        """One result for each item, in order, once the server has answered."""
        added = iter(messages.unpack_added(answer, len(self.request.items)))
        return [result or next(added) for result in self.results]


def parcels(items: Iterable[NewItem], head: pb.AddRequest, info: Info) -> Iterator[Parcel]:
    """Items in requests of bounded size, lazily, in order.

    Parameters
    ----------
    items : iterable of NewItem
    head : AddRequest
        What all requests share.
    info : Info
        Says what the server takes.
    """
    room = within(TOGETHER, info)
    parcel = _parcel(head)
    for item in items:
        packed = _packed(item, info)
        size = packed.ByteSize() if isinstance(packed, pb.NewItem) else 0
        if not parcel.has_room(room, size):
            yield parcel
            parcel = _parcel(head)
        parcel.add(packed, size)
        if len(parcel.results) == room.images:
            yield parcel
            parcel = _parcel(head)
    if parcel.results:
        yield parcel


def _packed(item: NewItem, info: Info) -> pb.NewItem | Added:
    """An item as it travels, or why it cannot; it fails alone."""
    if not isinstance(item, NewItem):
        return Added("", error=InvalidArgument(f"an item to add is a NewItem, not {type(item).__name__}"))
    try:
        message = messages.pack_item(_read(item))
        _check_size(message.image, info)
        if message.ByteSize() > message_room(info):
            raise InvalidArgument(f"the new item {item.id[:80]!r} is larger than the server's messages")
    except PenultimateError as error:
        return Added(item.id, error=error)
    return message


def _check_size(image: bytes, info: Info) -> None:
    if len(image) > (limit := min(info.image_bytes, message_room(info))):
        raise ImageTooLarge(f"the image has {len(image):,} bytes, and the server takes at most {limit:,}")


def _parcel(head: pb.AddRequest) -> Parcel:
    request = pb.AddRequest()
    request.CopyFrom(head)
    return Parcel(request)


def _read(item: NewItem) -> NewItem:
    """The same with its image as bytes."""
    if item.image is None or item.vector is not None or isinstance(item.image, bytes):
        return item
    if isinstance(item.image, np.ndarray):
        raise InvalidArgument("an array is a vector: write NewItem(id, vector=array)")
    return NewItem(item.id, _bytes(item.image), None, item.digest, item.label, item.metadata)


def _bytes(image: Any) -> bytes:
    try:
        return sources.read(image)
    except PenultimateError:
        raise
    except Exception as unknown:
        raise UnreadableFile(f"an image cannot be read ({type(unknown).__name__}: {unknown})") from unknown


class Questions:
    """Queries, and their answers one after the other.

    Parameters
    ----------
    queries : sequence of Query or Example
    head : SearchRequest
        What all requests share.
    info : Info
        Says what the server takes.
    """

    def __init__(self, queries: Iterable[Query | Example], head: pb.SearchRequest, info: Info) -> None:
        self._queries = list(listed(queries, "queries"))
        self._found: list[Found | None] = [None] * len(self._queries)
        self._head = head
        self._info = info
        self._most = max(1, min(TOGETHER.images, info.items_per_call, messages.MOST_MATCHES // head.k))
        self._room = within(Room(info.items_per_call, TOGETHER.bytes), info)

    def requests(self) -> Iterator[tuple[list[int], bytes]]:
        """Requests, and the places of their queries; one that cannot be sent is answered here."""
        request, places, examples, size = self._request(), list[int](), 0, 0
        for place, query in enumerate(self._queries):
            message = self._packed(place, query)
            if message is None:
                continue
            count, more = _examples(message), message.ByteSize()
            full = len(places) == self._most or examples + count > self._room.images
            if places and (full or size + more > self._room.bytes):
                yield places, request.SerializeToString()
                request, places, examples, size = self._request(), [], 0, 0
            request.queries.append(message)
            places.append(place)
            examples, size = examples + count, size + more
        if places:
            yield places, request.SerializeToString()

    def _packed(self, place: int, query: Query | Example) -> pb.Query | None:
        """A query as it travels; None when it cannot, which is then its answer."""
        try:
            message = pack_query(query)
            for example in (*message.like, *message.unlike):
                _check_size(example.image, self._info)
            count, size = _examples(message), message.ByteSize()
            most, room = self._info.items_per_call, message_room(self._info)
            if count > most or size > room:
                raise InvalidArgument(
                    f"the query has {count} examples and {size:,} bytes; the server takes {most} and {room:,}"
                )
        except PenultimateError as error:
            self._found[place] = Found([], error)
            return None
        return message

    def fill(self, places: Sequence[int], answer: pb.SearchResponse) -> None:
        """Put the answers of one request in their places."""
        messages.check_count(len(answer.results), len(places))
        for place, result in zip(places, answer.results, strict=True):
            self._found[place] = messages.unpack_found(result)

    def answers(self) -> list[Found]:
        """One answer for each query, once all are there."""
        return [found for found in self._found if found is not None]

    def _request(self) -> pb.SearchRequest:
        request = pb.SearchRequest()
        request.CopyFrom(self._head)
        return request


def _examples(query: pb.Query) -> int:
    return len(query.like) + len(query.unlike)


def pack_query(query: Query | Example) -> pb.Query:
    """The message of a query, or of a single example; raises what is wrong with its images."""
    whole = query if isinstance(query, Query) else Query([query])
    return pb.Query(like=map(_pack_example, whole.like), unlike=map(_pack_example, whole.unlike))


def _pack_example(example: Example) -> pb.Example:
    if isinstance(example, np.ndarray):
        return pb.Example(vector=messages.pack_vector(example))
    if isinstance(example, str):
        return pb.Example(id=sendable(example))
    return pb.Example(image=example if isinstance(example, bytes) else _bytes(example))


def sendable(id: str) -> str:
    """An item's id that can travel; raises InvalidArgument when it cannot."""
    if not isinstance(id, str):
        raise InvalidArgument(f"an item's id is a text, not {type(id).__name__}")
    try:
        id.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"the id {id!r} is not valid Unicode, which all texts here must be") from None
    return id
