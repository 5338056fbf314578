"""Messages of the `Collections` service to values and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from extractor import errors
from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.collections_wire.values import Added, Found, Neighbour, NewItem, Record, Summary
from extractor.errors import InvalidArgument, PenultimateError
from extractor.results import Vector

SERVICE = pb.DESCRIPTOR.services_by_name["Collections"].full_name

MOST_MATCHES = 100_000
"""Of all queries of a call together."""

# What is wrong with one item; leaves stand before their base.
_CODES: list[tuple[type[PenultimateError], pb.ItemError.Code]] = [
    (errors.ImageTooLarge, pb.ItemError.IMAGE_TOO_LARGE),
    (errors.UnsupportedFormat, pb.ItemError.UNSUPPORTED_FORMAT),
    (errors.InvalidImage, pb.ItemError.INVALID_IMAGE),
    (errors.DeadlineExceeded, pb.ItemError.DEADLINE_EXCEEDED),
    (errors.InvalidArgument, pb.ItemError.INVALID_ARGUMENT),
    (errors.AlreadyExists, pb.ItemError.ALREADY_EXISTS),
    (errors.NotFound, pb.ItemError.NOT_FOUND),
]


def pack_error(error: PenultimateError) -> pb.ItemError:
    """Why one item or query failed."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), pb.ItemError.INTERNAL)
    return pb.ItemError(code=code, reason=str(error))


def unpack_error(message: pb.ItemError) -> PenultimateError:
    """What `pack_error` packed."""
    kind = next((kind for kind, code in _CODES if code == message.code), errors.InternalError)
    return kind(message.reason)


def pack_item(item: NewItem) -> pb.NewItem:
    """The message of an item, whose image is bytes by now.

    Raises
    ------
    InvalidArgument
        When it holds what cannot travel, such as a name that is no Unicode.
    """
    if (item.image is None) == (item.vector is None):
        raise InvalidArgument(f"the new item {item.id!r} needs an image or a vector, and not both")
    try:
        message = pb.NewItem(
            id=item.id, digest=item.digest, label=item.label, metadata=pack_metadata(item.metadata)
        )
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the new item {item.id!r} cannot be sent: {error}") from None
    if item.vector is not None:
        message.vector = pack_vector(item.vector)
    else:
        assert isinstance(item.image, bytes)
        message.image = item.image
    return message


def pack_vector(vector: ArrayLike) -> bytes:
    """The numbers of a vector, as they travel; raises InvalidArgument for what is none."""
    try:
        numbers = np.asarray(vector, "<f4")
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"a vector cannot be sent: {error}") from None
    if numbers.ndim != 1:
        raise InvalidArgument(f"a vector has one dimension, and this one the shape {numbers.shape}")
    return numbers.tobytes()


def unpack_vector(data: bytes, dim: int) -> Vector:
    """What `pack_vector` packed; raises InvalidArgument unless it is of `dim` numbers."""
    if len(data) != 4 * dim:
        raise InvalidArgument(
            f"a vector came as {len(data)} bytes; those of this collection have {dim} numbers of float32, "
            f"which are {4 * dim} bytes"
        )
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def pack_metadata(metadata: Mapping[str, Any]) -> str:
    """The text of a JSON object; empty for an empty one.

    Raises
    ------
    InvalidArgument
        When it holds what JSON cannot say.
    """
    if not metadata:
        return ""
    try:
        return json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"metadata must be what JSON can say: {error}") from None


def unpack_metadata(text: str) -> dict[str, Any]:
    """What `pack_metadata` packed; raises InvalidArgument for anything but a JSON object."""
    if not text:
        return {}
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"metadata must be the text of a JSON object: {error}") from None
    if not isinstance(metadata, dict):
        raise InvalidArgument(f"metadata must be a JSON object, not {text[:40]!r}")
    return metadata


def pack_added(results: Iterable[Added], fingerprint: str) -> pb.AddResponse:
    """The message that answers one request to add."""
    return pb.AddResponse(
        fingerprint=fingerprint,
        results=[
            pb.AddResult(
                id=result.id,
                digest=result.digest,
                cached=result.cached,
                error=pack_error(result.error) if result.error else None,
            )
            for result in results
        ],
    )


def unpack_added(message: pb.AddResponse, count: int) -> list[Added]:
    """What `pack_added` packed; raises InternalError unless it is of `count` items."""
    check_count(len(message.results), count)
    return [
        Added(
            result.id,
            result.digest,
            result.cached,
            unpack_error(result.error) if result.HasField("error") else None,
        )
        for result in message.results
    ]


def pack_record(record: Record) -> pb.Item:
    """The message of an item that is there."""
    return pb.Item(
        id=record.id,
        digest=record.digest,
        vector=b"" if record.vector is None else pack_vector(record.vector),
        label=record.label,
        metadata=pack_metadata(record.metadata),
        source=record.source,
        thumbnail=record.thumbnail,
    )


def unpack_record(message: pb.Item, dim: int) -> Record:
    """What `pack_record` packed."""
    return Record(
        id=message.id,
        digest=message.digest,
        vector=unpack_vector(message.vector, dim) if message.vector else None,
        label=message.label if message.HasField("label") else None,
        metadata=unpack_metadata(message.metadata),
        source=message.source,
        thumbnail=message.thumbnail,
    )


def pack_found(found: Found) -> pb.SearchResult:
    """The message that answers one query."""
    if found.error:
        return pb.SearchResult(error=pack_error(found.error))
    matches = [
        pb.Match(id=match.id, score=match.score, label=match.label, metadata=pack_metadata(match.metadata))
        for match in found.matches
    ]
    return pb.SearchResult(matches=matches)


def unpack_found(message: pb.SearchResult) -> Found:
    """What `pack_found` packed."""
    if message.HasField("error"):
        return Found([], unpack_error(message.error))
    return Found(
        [
            Neighbour(
                match.id,
                match.score,
                match.label if match.HasField("label") else None,
                unpack_metadata(match.metadata),
            )
            for match in message.matches
        ]
    )


def pack_summary(summary: Summary) -> pb.CollectionInfo:
    """The message that describes a collection."""
    return pb.CollectionInfo(
        name=summary.name,
        fingerprint=summary.fingerprint,
        dim=summary.dim,
        backbone=summary.backbone,
        count=summary.count,
        bytes=summary.bytes,
        labels=summary.labels,
        thumbnails=summary.thumbnails,
        index=pb.IndexInfo(
            kind=summary.index,
            reason=summary.reason,
            recall=summary.recall,
            segments=summary.segments,
            tail=summary.tail,
            deleted=summary.deleted,
        ),
    )


def unpack_summary(message: pb.CollectionInfo) -> Summary:
    """What `pack_summary` packed."""
    index = message.index
    return Summary(
        name=message.name,
        fingerprint=message.fingerprint,
        backbone=message.backbone,
        dim=message.dim,
        count=message.count,
        bytes=message.bytes,
        labels=dict(message.labels),
        thumbnails=message.thumbnails,
        index=index.kind,
        reason=index.reason,
        recall=index.recall if index.HasField("recall") else None,
        segments=index.segments,
        tail=index.tail,
        deleted=index.deleted,
    )


def check_count(answered: int, asked: int) -> None:
    """Raise InternalError unless there is one result for each that was asked for."""
    if answered != asked:
        raise errors.InternalError(f"the server answered {asked} with {answered} results")
