"""What answers for heads: all that takes long to import, and is imported at the first call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from classifiers.heads import IMAGENET
from classifiers.service.classifying import check_fingerprints, check_size, classify
from classifiers.service.describing import describe, describe_all, describe_own
from classifiers.service.fitting import Fits
from classifiers.service.roster import Roster
from classifiers.service.watched import Watched
from classifiers.store.versions import promote
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls
from extractor.heads_wire.values import Drift, HeadInfo
from extractor.settings import DataFolder
from extractor.submission import Submits


class Answers:
    """Answers for the heads of one data folder; parameters as of `HeadsService`."""

    def __init__(self, data: DataFolder, embedder: Submits, calls: Calls) -> None:
        self._data, self._embedder, self._calls = data, embedder, calls
        self._roster = Roster(data, embedder)
        self._fits = Fits(data, embedder, calls)
        self.watched = Watched(data)
        self._keeping: asyncio.Task[None] | None = None

    async def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """What the inputs are."""
        heads = await self._roster.answering(request.heads)
        check_size(heads, request, self._calls.limits.message_bytes)
        check_fingerprints(heads, request, self._embedder)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self.watched.keep())
        return await classify(heads, request, call, self._embedder, self.watched)

    def fit(self, requests: AsyncIterator[pb.FitRequest], call: Call) -> AsyncGenerator[pb.FitProgress]:
        """Fit a head; what is said meanwhile."""
        return self._fits.fit(requests, call)

    async def heads(self) -> list[HeadInfo]:
        """All that were fitted."""
        return await asyncio.to_thread(lambda: list(describe_all(self._data)))

    async def head(self, name: str) -> HeadInfo:
        """One head."""
        if name == IMAGENET:
            (own,) = await self._roster.answering([name])
            return describe_own(own.head)
        return await asyncio.to_thread(describe, name, self._data)

    async def promote(self, name: str, version: int | None) -> HeadInfo:
        """Let a version answer, by default the newest."""
        await asyncio.to_thread(promote, name, version, self._data)
        return await self.head(name)

    async def drift(self, name: str) -> Drift:
        """How far what a head was asked about has moved."""
        (answering,) = await self._roster.answering([name])
        return await asyncio.to_thread(self.watched.drift, answering)

    async def close(self) -> None:
        """Put on disk what was noted."""
        if self._keeping:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        await asyncio.to_thread(self.watched.write)
