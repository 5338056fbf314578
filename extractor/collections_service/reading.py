"""What there is of a collection: itself, items by their ids, items page by page; for a thread each."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from heapq import nlargest

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.collections import Collection, Entry, Filter, Item
from extractor.collections_service.searching import AROUND
from extractor.collections_wire import messages as wire
from extractor.collections_wire.values import Record, Summary
from extractor.errors import InvalidArgument, NotFound
from extractor.results import Vector

PAGE_ITEMS = 256
"""Of a listing, where the caller does not say."""

PAGE_BYTES = 4 * 2**20
"""Of a listing; the item that goes beyond is its last."""

MOST_LABELS = 1000
"""Labels whose items are counted in what is said of a collection."""


def summary(collection: Collection) -> Summary:
    """What a collection holds."""
    info = collection.info()
    return Summary(
        name=info.name,
        fingerprint=info.fingerprint,
        backbone=info.backbone,
        dim=info.dim,
        count=info.count,
        bytes=info.bytes,
        labels=_frequent({label: count for label, count in info.labels.items() if label is not None}),
        thumbnails=info.thumbnails,
        index=info.index.kind,
        reason=info.index.reason,
        recall=info.index.recall,
        segments=info.index.segments,
        tail=info.index.tail,
        deleted=info.index.deleted,
    )


def _frequent(labels: dict[str, int]) -> dict[str, int]:
    """The labels of most items: where nearly every item has its own, all would be no answer any more."""
    if len(labels) <= MOST_LABELS:
        return labels
    return dict(nlargest(MOST_LABELS, labels.items(), key=lambda pair: pair[1]))


def items(collection: Collection, request: pb.GetItemsRequest, room: int) -> pb.GetItemsResponse:
    """What is there of some ids, if it goes into one answer."""
    answer = pb.GetItemsResponse(fingerprint=collection.fingerprint, dim=collection.dim)
    for id in request.ids:
        got = _got(collection, id, request)
        if (room := room - got.ByteSize() - AROUND) < 0:
            raise InvalidArgument(
                f"the answer for {len(request.ids)} ids is too large for a message: ask for fewer at a time, "
                "or without vectors and thumbnails"
            )
        answer.results.append(got)
    return answer


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


def page(collection: Collection, request: pb.ListItemsRequest, most: int) -> pb.ListItemsResponse:
    """So many items as one answer may have, after the last of the page before."""
    where = Filter.parse(request.filter) if request.filter else None
    size, room = min(request.page_size or PAGE_ITEMS, most), PAGE_BYTES
    answer = pb.ListItemsResponse(fingerprint=collection.fingerprint, dim=collection.dim)
    after = _after(request.page_token)
    with closing(collection.items(where, vectors=request.vectors, after=after, limit=size + 1)) as entries:
        for entry in entries:
            if len(answer.items) == size or room < 0:
                answer.next_page_token = str(after)
                break
            after = entry.number
            answer.items.append(wire.pack_record(_record(entry, entry.vector)))
            room -= answer.items[-1].ByteSize()
    return answer


def _after(token: str) -> int:
    if token and not (token.isdecimal() and len(token) < 19):
        raise InvalidArgument(f"{token[:40]!r} is no page token: give that of the answer before, or none")
    return int(token or 0)
