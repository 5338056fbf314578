"""What both clients send to a collection: items and queries in requests, answers to their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extractor import sources
from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.client.packing import Room
from extractor.collections_wire import messages
from extractor.collections_wire.values import Added, Example, Found, NewItem, Query
from extractor.errors import InvalidArgument, PenultimateError, UnreadableFile

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

    def add(self, item: NewItem) -> None:
        """Take an item; one whose image cannot be read has its result at once."""
        try:
            message = messages.pack_item(_read(item))
        except PenultimateError as error:
            self.results.append(Added(item.id, error=error))
            return
        self.request.items.append(message)
        self.results.append(None)
        self.size += message.ByteSize()

    def is_full(self, room: Room) -> bool:
        """Whether nothing more goes in."""
        return len(self.results) >= room.images or self.size >= room.bytes

    def message(self) -> bytes:
        """The request as it travels."""
        return self.request.SerializeToString()

    def answered(self, answer: pb.AddResponse) -> list[Added]:
        """One result for each item, in order, once the server has answered."""
        added = iter(messages.unpack_added(answer, len(self.request.items)))
        return [result or next(added) for result in self.results]


def parcels(items: Iterable[NewItem], head: pb.AddRequest, most: int) -> Iterator[Parcel]:
    """Items in requests of bounded size, lazily, in order.

    Parameters
    ----------
    items : iterable of NewItem
    head : AddRequest
        What all requests share.
    most : int
        Items that the server takes in one.
    """
    room = Room(min(TOGETHER.images, most), TOGETHER.bytes)
    parcel = _parcel(head)
    for item in items:
        parcel.add(item)
        if parcel.is_full(room):
            yield parcel
            parcel = _parcel(head)
    if parcel.results:
        yield parcel


def _parcel(head: pb.AddRequest) -> Parcel:
    request = pb.AddRequest()
    request.CopyFrom(head)
    return Parcel(request)


def _read(item: NewItem) -> NewItem:
    """The same with its image as bytes."""
    if item.image is None or item.vector is not None or isinstance(item.image, bytes):
        return item
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
    most : int
        Queries that the server takes in one.
    """

    def __init__(self, queries: Iterable[Query | Example], head: pb.SearchRequest, most: int) -> None:
        self._queries = list(queries)
        self._found: list[Found | None] = [None] * len(self._queries)
        self._head = head
        self._room = Room(min(TOGETHER.images, most), TOGETHER.bytes)

    def requests(self) -> Iterator[tuple[list[int], bytes]]:
        """Requests, and the places of their queries; one that cannot be sent is answered here."""
        request, places, size = self._request(), list[int](), 0
        for place, query in enumerate(self._queries):
            try:
                message = pack_query(query)
            except PenultimateError as error:
                self._found[place] = Found([], error)
                continue
            request.queries.append(message)
            places.append(place)
            size += message.ByteSize()
            if len(places) >= self._room.images or size >= self._room.bytes:
                yield places, request.SerializeToString()
                request, places, size = self._request(), [], 0
        if places:
            yield places, request.SerializeToString()

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


def pack_query(query: Query | Example) -> pb.Query:
    """The message of a query, or of a single example; raises what is wrong with its images."""
    whole = query if isinstance(query, Query) else Query([query])
    return pb.Query(like=map(_pack_example, whole.like), unlike=map(_pack_example, whole.unlike))


def _pack_example(example: Example) -> pb.Example:
    if isinstance(example, np.ndarray):
        if example.ndim != 1:
            raise InvalidArgument(f"a vector has one dimension, and this one the shape {example.shape}")
        return pb.Example(vector=messages.pack_vector(example))
    if isinstance(example, str):
        return pb.Example(id=example)
    return pb.Example(image=example if isinstance(example, bytes) else _bytes(example))
