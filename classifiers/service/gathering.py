"""Labelled inputs as they come, turned into what a head is fitted on."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from classifiers.data.dataset import Dataset
from classifiers.data.features import Features, embed
from classifiers.data.labels import joined, parted
from classifiers.service.inputs import LONGEST_NAME, Input, Inputs, needs_embedder
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.call import Call
from extractor.errors import FingerprintMismatch, InvalidArgument, Overloaded
from extractor.heads_wire.values import FitOptions
from extractor.results import ImageLike, Result
from extractor.settings import DataFolder
from extractor.submission import Submits

MOST_ROWS = 100_000
"""Images of one fit over the wire, 512 MB at a width of 1280; of more, `fit-head` reads the files itself."""

UNDER_WAY = 4
"""Requests whose images are embedded at once."""

_Reading: TypeAlias = "asyncio.Task[tuple[list[Input], list[str]]]"


class Gathering:
    """The labelled images of one fit; implements `Embeds` for them.

    Parameters
    ----------
    options : FitOptions
    embedder : Embedder
    call : Call

    Attributes
    ----------
    seconds : float
        From the first request to the last image.
    """

    def __init__(self, options: FitOptions, embedder: Submits, call: Call) -> None:
        self._embedder, self._call = embedder, call
        self._several = options.multi_label
        self.fingerprint = options.fingerprint or embedder.fingerprint
        self.backbone = embedder.bundle.manifest.backbone
        self.dim = embedder.dim
        self.seconds = 0.0
        self._results: list[Result] = []
        self._names: list[str] = []
        self._labels: list[str] = []

    def __len__(self) -> int:
        return len(self._results)

    async def take(self, requests: AsyncIterator[pb.FitRequest], first: pb.FitRequest) -> AsyncGenerator[int]:
        """Embed what the requests bring, a few at a time; how many images there are after each."""
        begun, under_way = time.monotonic(), deque([self._begin(first)])
        try:
            async for request in requests:
                if request.HasField("options"):
                    raise InvalidArgument("only the first request of a fit may have `options`")
                under_way.append(self._begin(request))
                if len(under_way) == UNDER_WAY:
                    yield await self._finish(under_way)
            while under_way:
                yield await self._finish(under_way)
        finally:
            self.seconds = round(time.monotonic() - begun, 3)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def add_collection(self, name: str, data: DataFolder) -> None:
        """Take the labelled items of a collection; blocks.

        Raises
        ------
        NotFound
            When there is none of that name.
        FingerprintMismatch
            When its vectors are of another backbone.
        """
        from extractor.collections import Collection

        with Collection.open(data, name) as collection:
            if len(self) and collection.fingerprint != self.fingerprint:
                raise FingerprintMismatch(
                    f"the collection {name!r}", expected=self.fingerprint, found=collection.fingerprint
                )
            self.fingerprint, self.dim, self.backbone = (
                collection.fingerprint,
                collection.dim,
                collection.backbone,
            )
            for item in collection.items(vectors=True):
                if item.label is not None and item.vector is not None:
                    self._append(Input(item.vector, None, item.digest, True, item.id), item.label)

    def features(self) -> Features:
        """All of it as a labelled matrix; what cannot be used is in `rejected`.

        Raises
        ------
        InvalidArgument
            When nothing can be used.
        """
        if not self._names:
            raise InvalidArgument("the call has no labelled images: send some, or name a collection")
        labels = [joined(parted(label)) for label in self._labels] if self._several else self._labels
        places = [str(place) for place in range(len(self))]
        dataset = Dataset(places, list(labels), multi_label=self._several)
        features = embed(self, dataset)
        names = [self._names[int(image)] for image in features.images]
        rejected = [
            type(each)(self._names[int(each.image)] if each.image.isdecimal() else each.image, each.reason)
            for each in features.rejected
        ]
        return replace(features, images=names, rejected=rejected)

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """What was gathered under these places."""
        return (self._results[int(str(image))] for image in images)

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """As `stream`."""
        return list(self.stream(images))

    def close(self) -> None:
        """Nothing is open."""

    def _begin(self, request: pb.FitRequest) -> _Reading:
        messages = [each.input for each in request.inputs]
        if needs_embedder(messages) and self.fingerprint != self._embedder.fingerprint:
            raise FingerprintMismatch(
                "what the caller has", expected=self._embedder.fingerprint, found=self.fingerprint
            )
        return asyncio.create_task(self._read(messages, [each.label for each in request.inputs]))

    async def _read(
        self, messages: Sequence[pb.HeadInput], labels: list[str]
    ) -> tuple[list[Input], list[str]]:
        """The inputs and their labels; while the embedder is full, other callers come first."""
        while True:
            try:
                return await Inputs(messages, self._embedder, self._call, self.dim).read(), labels
            except Overloaded as full:
                await asyncio.sleep(full.retry_after)

    async def _finish(self, under_way: deque[_Reading]) -> int:
        """Add what the oldest brought."""
        for each, label in zip(*await under_way[0], strict=True):
            self._append(each, label)
        under_way.popleft()
        return len(self)

    def _append(self, each: Input, label: str) -> None:
        if len(self) == MOST_ROWS:
            raise InvalidArgument(
                f"a fit over the wire has at most {MOST_ROWS:,} images: use `fit-head` where the images are"
            )
        if not each.error and (wrong := _wrong_with(label)):
            each = each._replace(vector=None, error=InvalidArgument(wrong))
        digest = each.digest or None
        self._results.append(Result(each.vector, each.error, digest, each.cached, self.fingerprint))
        self._names.append(each.id or each.digest.hex() or f"input {len(self)}")
        self._labels.append(label)


def _wrong_with(label: str) -> str:
    """What keeps it from being a label; empty for nothing."""
    if not label:
        return "it has no label"
    size = len(label.encode())
    return f"its label has {size:,} bytes and may have {LONGEST_NAME:,}" if size > LONGEST_NAME else ""
