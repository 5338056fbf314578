"""What a call brings, as vectors: images embedded, digests remembered; what cannot be used fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.caches import Row
from extractor.call import Call
from extractor.errors import InvalidArgument, NotFound, PenultimateError
from extractor.heads_wire import messages as wire
from extractor.results import Result, Vector
from extractor.submission import Submission, Submits

_DIGEST = 32

LONGEST_NAME = 4096
"""Bytes of a caller's name for an image, as of a path: names are kept, and so are labels."""


class Input(NamedTuple):
    """One input: its vector or an error, and what is known of its image."""

    vector: Vector | None
    error: PenultimateError | None = None
    digest: bytes = b""
    cached: bool = False
    id: str = ""


def needs_embedder(inputs: Sequence[pb.HeadInput]) -> bool:
    """Whether any of them is of the server's own backbone, whatever the caller has."""
    return any(each.WhichOneof("content") != "vector" for each in inputs)


class Inputs:
    """The inputs of one request; images are submitted at once, or all refused.

    Parameters
    ----------
    messages : sequence of HeadInput
    embedder : Embedder
    call : Call
    dim : int
        The width of vectors.

    Raises
    ------
    Overloaded
        When the embedder does not take the images.
    """

    def __init__(self, messages: Sequence[pb.HeadInput], embedder: Submits, call: Call, dim: int) -> None:
        self._embedder, self._call, self._dim = embedder, call, dim
        self._what = [(each.WhichOneof("content"), each.id) for each in messages]
        self._digests = [each.digest for each in messages if each.HasField("digest")]
        self._vectors = [each.vector for each in messages if each.HasField("vector")]
        images = [each.image for each in messages if each.HasField("image")]
        self._submission = Submission(embedder, images, call.deadline) if images else None

    async def read(self) -> list[Input]:
        """One for each, in order; when the caller leaves, what has not begun is dropped."""
        results = await self._submission.results() if self._submission else []
        if results:
            self._call.answered(results)
        found = {
            "image": map(_of_result, results),
            "digest": iter(await self._remembered()),
            "vector": map(self._of_vector, self._vectors),
        }
        return [_named(next(found[what]), id) if what else _EMPTY for what, id in self._what]

    async def _remembered(self) -> list[Input]:
        if not self._digests:
            return []
        whole = [digest for digest in self._digests if len(digest) == _DIGEST]
        rows = iter(await asyncio.to_thread(self._embedder.lookup, whole))  # it may have to read from disk
        return [
            _of_row(digest, next(rows)) if len(digest) == _DIGEST else _no_digest(digest)
            for digest in self._digests
        ]

    def _of_vector(self, data: bytes) -> Input:
        try:
            return Input(wire.unpack_vector(data, self._dim))
        except InvalidArgument as error:
            return Input(None, error)


def _named(found: Input, id: str) -> Input:
    if (size := len(id.encode())) > LONGEST_NAME:
        error = InvalidArgument(f"the id of an input has {size:,} bytes and may have {LONGEST_NAME:,}")
        return Input(None, error, found.digest)
    return found._replace(id=id)


def _of_result(result: Result) -> Input:
    return Input(result.embedding, result.error, result.digest or b"", result.cached)


def _of_row(digest: bytes, row: Row | None) -> Input:
    if row is None:
        error = NotFound(f"nothing is remembered for the digest {digest.hex()}: send the image")
        return Input(None, error, digest)
    return Input(row.vector, None, digest, cached=True)


def _no_digest(digest: bytes) -> Input:
    return Input(None, InvalidArgument(f"a digest has 32 bytes (SHA-256), not {len(digest)}"))


_EMPTY = Input(None, InvalidArgument("an input is an image, a vector or a digest, and this one is none"))
