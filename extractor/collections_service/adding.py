"""Adding items: images are embedded, what cannot be used fails alone, the rest is committed in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.call import Call
from extractor.collections import Item
from extractor.collections.pictures import NO_PICTURE, Picture
from extractor.collections_service.shelf import Volume
from extractor.collections_wire import messages as wire
from extractor.collections_wire.values import Added
from extractor.errors import AlreadyExists, InvalidArgument, PenultimateError
from extractor.results import Result, Vector
from extractor.submission import Submission, Submits


class Turns:
    """Lets the requests of one stream reach the store in their order, however long each takes before."""

    def __init__(self) -> None:
        self._last: dict[asyncio.Task[object], asyncio.Future[None]] = {}

    def take(self, call: Call) -> Turn:
        """The next turn of this call."""
        if call.task not in self._last:
            call.task.add_done_callback(lambda task: self._last.pop(task))
        turn = Turn(self._last.get(call.task))
        self._last[call.task] = turn.over
        return turn


class Turn:
    """After whom a request comes, and when the one after it may."""

    def __init__(self, before: asyncio.Future[None] | None) -> None:
        self._before = before
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def awaited(self) -> AsyncIterator[None]:
        """In the block it is this request's turn; however the request ends, the next one comes."""
        try:
            if self._before:
                await asyncio.wait({self._before})
            yield
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next one come."""
        if not self.over.done():
            self.over.set_result(None)


class Addition:
    """What one request wants added; it takes what it needs of the message, which may then go.

    Parameters
    ----------
    request : AddRequest
    """

    def __init__(self, request: pb.AddRequest) -> None:
        self.collection, self.fingerprint = request.collection, request.fingerprint
        if request.if_exists not in pb.AddRequest.IfExists.values():
            raise InvalidArgument(f"if_exists is {request.if_exists}, which this server does not know")
        self._replace = request.if_exists == pb.AddRequest.REPLACE
        self._drafts = [_Draft(message) for message in request.items]

    async def carry_out(self, volume: Volume, embedder: Submits, call: Call, turn: Turn) -> list[Added]:
        """Embed and commit; one result for each item, in order.

        Raises
        ------
        FingerprintMismatch
            When images are to be embedded by another backbone than the collection's.
        Overloaded, DeadlineExceeded
            When the embedder does not take them.
        """
        await _embed(volume, embedder, [draft for draft in self._drafts if draft.image is not None], call)
        await volume.prepare(self._check)
        async with turn.awaited():
            commit = _commit(volume, [draft for draft in self._drafts if draft.item], self._replace)
            turn.pass_on()  # it is in the line of writes: the next may join its commit
            await commit
        return [draft.added() for draft in self._drafts]

    def _check(self, dim: int) -> None:
        for draft in self._drafts:
            draft.check(dim)


class _Draft:
    """An item on its way: what was sent, then what can be stored, or why it cannot."""

    def __init__(self, message: pb.NewItem) -> None:
        self.id = message.id
        self.image = message.image if message.WhichOneof("content") == "image" else None
        self.item: Item | None = None
        self.error: PenultimateError | None = None
        self.cached = False
        self._vector, self._digest = message.vector, message.digest
        self._label = message.label if message.HasField("label") else None
        self._metadata = message.metadata
        self._picture = NO_PICTURE
        self._embedded: Result | None = None

    def embedded(self, result: Result, picture: Picture) -> None:
        """Take what was made of the image, which is needed no more."""
        self.image, self._embedded, self._picture = None, result, picture
        self.cached = result.cached

    def check(self, dim: int) -> None:
        """Make the item, or note what is wrong with it."""
        try:
            self.item = self._of_image(self._embedded) if self._embedded else self._of_vector(dim)
        except PenultimateError as error:
            self.error = error

    def _of_image(self, result: Result) -> Item:
        self._digest = result.digest or b""
        self.id = self.id or self._digest.hex()
        if result.embedding is None:
            assert result.error is not None
            raise result.error
        return self._made(result.embedding)

    def _of_vector(self, dim: int) -> Item:
        if not self._vector:
            raise InvalidArgument(f"the item {self.id!r} has neither an image nor a vector")
        if len(self._digest) not in (0, 32):
            raise InvalidArgument(f"a digest has 32 bytes (SHA-256), not {len(self._digest)}")
        return self._made(wire.unpack_vector(self._vector, dim))

    def _made(self, vector: Vector) -> Item:
        facts, thumbnail = self._picture
        metadata = {**facts, **wire.unpack_metadata(self._metadata)}
        return Item(self.id, vector, self._digest, None, self._label, metadata, thumbnail)

    def refuse(self, name: str) -> None:
        """There is an item of that id, and it shall stay."""
        self.item, self.error = (
            None,
            AlreadyExists(f"the collection {name!r} has an item {self.id!r} already"),
        )

    def added(self) -> Added:
        return Added(self.id, self._digest, self.cached, self.error)


async def _embed(volume: Volume, embedder: Submits, drafts: Sequence[_Draft], call: Call) -> None:
    if not drafts:
        return
    volume.collection.require(embedder.fingerprint)
    images = [draft.image or b"" for draft in drafts]
    results = await Submission(embedder, images, call.deadline).results()
    call.answered(results)
    good = [image if result.ok else b"" for image, result in zip(images, results, strict=True)]
    pictures = await volume.look_at(good, embedder.limits)
    for draft, result, picture in zip(drafts, results, pictures, strict=True):
        draft.embedded(result, picture)


def _commit(volume: Volume, drafts: Sequence[_Draft], replace: bool) -> Awaitable[object]:
    """Put the items in the line of writes, at once; what is returned is awaited for the commit."""
    if replace:
        return volume.writer.add([draft.item for draft in drafts if draft.item])
    return _commit_new(volume, drafts)


async def _commit_new(volume: Volume, drafts: Sequence[_Draft]) -> None:
    """Add those whose ids are new; of two of one id among them the first."""
    first = {draft.id: draft for draft in reversed(drafts)}
    items = [draft.item for draft in drafts if draft.item and first[draft.id] is draft]
    there = set(await volume.writer.change(lambda collection: collection.add(items, replace=False)))
    for draft in drafts:
        if draft.id in there or first[draft.id] is not draft:
            draft.refuse(volume.collection.name)
