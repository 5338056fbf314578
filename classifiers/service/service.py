"""The gRPC service `Heads`: unpack, call the library, pack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from classifiers.service.gauges import DriftGauges
from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls, Handler
from extractor.errors import InvalidArgument
from extractor.heads_wire import messages as wire
from extractor.heads_wire.messages import SERVICE
from extractor.settings import DataFolder
from extractor.submission import Submits

if TYPE_CHECKING:
    from classifiers.service.answers import Answers

SMALL = 4 * 2**10
"""Bytes to expect of a request without inputs that says nothing of its size."""


class HeadsService:
    """Answers for the heads of one data folder, with one embedder for images.

    What it needs is imported at the first call: a server that is asked about
    no head starts sooner, and is smaller.

    Parameters
    ----------
    data : DataFolder
    embedder : Embedder
    calls : Calls
        What it has in common with the other services on the port.
    gauges : DriftGauges, optional
        Told of what is classified.
    """

    name = SERVICE
    contract: FileDescriptor = pb.DESCRIPTOR

    def __init__(
        self, data: DataFolder, embedder: Submits, calls: Calls, gauges: DriftGauges | None = None
    ) -> None:
        self._data, self._embedder, self._calls = data, embedder, calls
        self._gauges = gauges or DriftGauges()
        self._answers: asyncio.Task[Answers] | None = None

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method."""
        calls = self._calls
        unary: dict[str, tuple[Handler[Any], type[Message], int]] = {
            "Classify": (self.classify, pb.ClassifyRequest, calls.limits.unsaid_bytes),
            "ListHeads": (self.list_heads, pb.ListHeadsRequest, SMALL),
            "GetHead": (self.get_head, pb.GetHeadRequest, SMALL),
            "Promote": (self.promote, pb.PromoteRequest, SMALL),
            "GetDrift": (self.get_drift, pb.GetDriftRequest, SMALL),
        }
        found = {
            method: calls.unary(f"{SERVICE}/{method}", *how, gate=calls.ready)
            for method, how in unary.items()
        }
        return found | {"Fit": calls.conversation(f"{SERVICE}/Fit", self.fit, pb.FitRequest)}

    async def close(self) -> None:
        """Finish; what was noted is then on disk."""
        if self._answers:
            await (await self._answers).close()

    async def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """One result for each input, in order."""
        if len(request.inputs) > (most := self._calls.limits.items_per_call):
            raise InvalidArgument(
                f"the call has {len(request.inputs)} inputs and may have {most}: split it into several calls"
            )
        self._accept(call, len(request.inputs))
        return await (await self._loaded()).classify(request, call)

    async def fit(self, requests: AsyncIterator[pb.FitRequest], call: Call) -> AsyncGenerator[pb.FitProgress]:
        """How far the fit is, and what came of it."""
        async with aclosing((await self._loaded()).fit(requests, call)) as answers:
            async for answer in answers:
                yield answer

    async def list_heads(self, _request: pb.ListHeadsRequest, _call: Call) -> pb.ListHeadsResponse:
        """All heads."""
        return pb.ListHeadsResponse(heads=map(wire.pack_info, await (await self._loaded()).heads()))

    async def get_head(self, request: pb.GetHeadRequest, _call: Call) -> pb.HeadInfo:
        """One head."""
        return wire.pack_info(await (await self._loaded()).head(request.name))

    async def promote(self, request: pb.PromoteRequest, call: Call) -> pb.HeadInfo:
        """Let a version answer."""
        self._accept(call, 0)
        answers = await self._loaded()
        return wire.pack_info(await answers.promote(request.name, request.version or None))

    async def get_drift(self, request: pb.GetDriftRequest, _call: Call) -> pb.Drift:
        """How far what a head was asked about has moved."""
        return wire.pack_drift(await (await self._loaded()).drift(request.name))

    def _accept(self, call: Call, count: int) -> None:
        self._calls.check_ready()
        self._calls.accept(call, count)

    async def _loaded(self) -> Answers:
        if self._answers is None:
            self._answers = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._answers)

    def _load(self) -> Answers:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from classifiers.service.answers import Answers

        # An answer is a few small products: on busy cores a team of threads takes milliseconds to meet.
        threadpool_limits(1, "blas")

        answers = Answers(self._data, self._embedder, self._calls)
        self._gauges.drifts = answers.watched.drifts
        return answers
