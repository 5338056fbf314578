"""Searching: examples become queries, and a query that cannot be made fails alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.call import Call
from extractor.collections import Collection, Entry, Match
from extractor.collections.filters import Filter
from extractor.collections.queries import compose_query
from extractor.collections_service.shelf import Volume
from extractor.collections_wire import messages as wire
from extractor.collections_wire.values import Found, Neighbour
from extractor.errors import InvalidArgument, NotFound, PenultimateError
from extractor.indexes import has_direction
from extractor.results import Result, Vector
from extractor.submission import Submission, Submits

DEFAULT_K = 10
_TOGETHER = 10_000  # ids in one statement; SQLite takes 32,766

AROUND = 16
"""Bytes that a message takes at most around each part of it."""


async def search(
    volume: Volume, embedder: Submits, request: pb.SearchRequest, call: Call, room: int
) -> list[pb.SearchResult]:
    """One answer for each query, in order, if all together take no more than `room` bytes.

    Raises
    ------
    InvalidArgument
        When too much is asked for, or the filter cannot be read.
    FingerprintMismatch
        When images are to be embedded by another backbone than the collection's.
    """
    k = _checked_k(request)
    where = Filter.parse(request.filter) if request.filter else None
    vectors = _Examples(volume.collection.dim)
    await vectors.embed(volume, embedder, request.queries, call)
    await vectors.read(volume, request.queries)
    queries = [_composed(query, vectors) for query in request.queries]
    good = [query for query in queries if not isinstance(query, PenultimateError)]
    found = iter(await volume.read(_searching(good, k, where, request, room)) if good else [])
    return [
        wire.pack_found(Found([], query)) if isinstance(query, PenultimateError) else next(found)
        for query in queries
    ]


def _checked_k(request: pb.SearchRequest) -> int:
    k = request.k or DEFAULT_K
    if k * len(request.queries) > wire.MOST_MATCHES:
        raise InvalidArgument(
            f"{len(request.queries)} queries for {k} matches each may find more than {wire.MOST_MATCHES:,}: "
            "ask for fewer, or split the call"
        )
    if math.isnan(request.min_score):
        raise InvalidArgument("min_score is no number")
    return k


class _Examples:
    """The vectors of all examples of a call: images are embedded together, items are read together."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._embedded: Mapping[bytes, Result] = {}
        self._read: Mapping[str, Vector] = {}

    async def embed(self, volume: Volume, embedder: Submits, queries: Iterable[pb.Query], call: Call) -> None:
        images = list(
            {example.image: None for example in _all(queries) if example.WhichOneof("what") == "image"}
        )
        if images:
            volume.collection.require(embedder.fingerprint)
            results = await Submission(embedder, images, call.deadline).results()
            call.answered(results)
            self._embedded = dict(zip(images, results, strict=True))

    async def read(self, volume: Volume, queries: Iterable[pb.Query]) -> None:
        if ids := {example.id for example in _all(queries) if example.WhichOneof("what") == "id"}:
            self._read = await volume.read(lambda collection: _vectors(collection, ids))

    def vector(self, example: pb.Example) -> Vector:
        """The vector of one; raises what is wrong with it."""
        match example.WhichOneof("what"):
            case "image":
                result = self._embedded[example.image]
                if result.embedding is None:
                    assert result.error is not None
                    raise result.error
                return result.embedding
            case "vector":
                return wire.unpack_vector(example.vector, self._dim)
            case "id":
                if example.id not in self._read:
                    raise NotFound(f"the collection has no item {example.id!r}")
                return self._read[example.id]
        raise InvalidArgument("an example is an image, a vector or an item's id, and one has none of these")


def _all(queries: Iterable[pb.Query]) -> Iterable[pb.Example]:
    return (example for query in queries for example in (*query.like, *query.unlike))


def _vectors(collection: Collection, ids: Iterable[str]) -> dict[str, Vector]:
    entries = _entries(collection, ids, vectors=True)
    return {entry.id: entry.vector for entry in entries if entry.vector is not None}


def _entries(collection: Collection, ids: Iterable[str], *, vectors: bool = False) -> Generator[Entry]:
    """The items of some ids, as far as they are there, in no order."""
    asked = list(ids)
    for begin in range(0, len(asked), _TOGETHER):
        some = asked[begin : begin + _TOGETHER]
        where = Filter("", f"id IN ({', '.join('?' * len(some))})", tuple(some))
        yield from collection.items(where, vectors=vectors)


def _composed(query: pb.Query, examples: _Examples) -> Vector | PenultimateError:
    """What to search with, or why there is nothing."""
    try:
        composed = compose_query(*([*map(examples.vector, side)] for side in (query.like, query.unlike)))
        if not has_direction(composed[None])[0]:
            raise InvalidArgument("the query is zero or holds values that are not finite")
    except PenultimateError as error:
        return error
    return composed


def _searching(
    queries: Sequence[Vector], k: int, where: Filter | None, request: pb.SearchRequest, room: int
) -> Callable[[Collection], list[pb.SearchResult]]:
    """The search itself, for a thread."""
    stacked = np.stack(queries)
    min_score = request.min_score if request.HasField("min_score") else None
    attributes = request.attributes

    def work(collection: Collection) -> list[pb.SearchResult]:
        found = collection.search(stacked, k, where=where, min_score=min_score)
        said = _attributes(collection, found, room) if attributes else {}
        nothing: tuple[None, dict[str, Any]] = None, {}
        left, answers = room, []
        for matches in found:
            near = [Neighbour(match.id, match.score, *said.get(match.id, nothing)) for match in matches]
            answers.append(wire.pack_found(Found(near)))
            if (left := left - answers[-1].ByteSize() - AROUND) < 0:
                raise _too_large()
        return answers

    return work


def _too_large() -> InvalidArgument:
    return InvalidArgument(
        "the answer is too large for a message: ask for fewer matches or queries at a time, or no attributes"
    )


def _attributes(
    collection: Collection, found: Sequence[Sequence[Match]], room: int
) -> dict[str, tuple[str | None, Mapping[str, Any]]]:
    """Label and metadata of what was found, as far as it is there still."""
    said: dict[str, tuple[str | None, Mapping[str, Any]]] = {}
    ids = {match.id for matches in found for match in matches}
    with closing(_entries(collection, ids)) as entries:
        for entry in entries:
            said[entry.id] = entry.label, entry.metadata
            if (room := room - len(wire.pack_metadata(entry.metadata))) < 0:
                raise _too_large()
    return said
