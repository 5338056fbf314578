"""The gRPC service: unpack, call the embedder, pack."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from importlib import metadata

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls
from extractor.errors import FingerprintMismatch, InvalidArgument
from extractor.submission import Submission, Submits

REPLY_BYTES = 300
"""What an image's result may have beside its vector: reasons are sentences."""

SOON = 0.1
"""Seconds in which a request has come, unless its caller is slow."""

SERVICE = pb.DESCRIPTOR.services_by_name["Extractor"].full_name


class ExtractorService:
    """Answers for one embedder.

    Each method accepts its request at once, or raises; what it returns is
    awaited for the answer.

    Parameters
    ----------
    embedder : Embedder
    calls : Calls
        What it has in common with the other services on the port.
    """

    def __init__(self, embedder: Submits, calls: Calls) -> None:
        self._embedder = embedder
        self._calls = calls
        self._coming: dict[Call, None] = {}  # oldest first

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method."""
        calls, limits = self._calls, self._calls.limits
        return {
            "Embed": calls.unary(
                f"{SERVICE}/Embed", self.embed, pb.EmbedRequest, limits.unsaid_bytes, self.gate
            ),
            "EmbedStream": calls.stream(f"{SERVICE}/EmbedStream", self.embed, pb.EmbedRequest),
            "Lookup": calls.unary(
                f"{SERVICE}/Lookup", self.lookup, pb.LookupRequest, 64 * limits.items_per_call
            ),
            "GetInfo": calls.unary(f"{SERVICE}/GetInfo", self.get_info, pb.GetInfoRequest, 0),
        }

    def gate(self, call: Call) -> Callable[[], object]:
        """Refuse a call before its images are received, where none of them would be taken.

        Calls that are being received already come first; each counts as one
        image, since how many it has is not known yet.
        """
        self._calls.check_ready()
        self._forget_slow(call.begun)
        self._embedder.check_room(call.deadline, len(self._coming))
        self._coming[call] = None
        return functools.partial(self._coming.pop, call, None)

    def _forget_slow(self, now: float) -> None:
        """Calls of which little comes keep no others out."""
        while self._coming and (oldest := next(iter(self._coming))).begun < now - SOON:
            del self._coming[oldest]

    def embed(self, request: pb.EmbedRequest, call: Call) -> Awaitable[pb.EmbedResponse]:
        """One result per image, in order."""
        wire.check_form(request.form)
        self.admit(call, len(request.images), request.fingerprint)
        images = list(request.images)
        form = request.form
        del request  # the same bytes once more
        return self._results(Submission(self._embedder, images, call.deadline), call, form)

    async def _results(self, images: Submission, call: Call, form: pb.VectorForm) -> pb.EmbedResponse:
        results = await images.results()
        call.answered(results)
        embedder = self._embedder
        return wire.pack_results(results, embedder.fingerprint, embedder.numerics, embedder.dim, form)

    def lookup(self, request: pb.LookupRequest, call: Call) -> Awaitable[pb.LookupResponse]:
        """What is remembered, in the order of the digests."""
        wire.check_form(request.form)
        self.admit(call, len(request.digests), request.fingerprint)
        for digest in request.digests:
            if len(digest) != 32:
                raise InvalidArgument(f"a digest has 32 bytes (SHA-256), not {len(digest)}")
        return asyncio.to_thread(self._recall, request, call)  # it may have to read from disk

    def _recall(self, request: pb.LookupRequest, call: Call) -> pb.LookupResponse:
        rows = self._embedder.lookup(request.digests)
        call.cached += sum(row is not None for row in rows)
        return wire.pack_rows(rows, self._embedder.fingerprint, self._embedder.dim, request.form)

    async def get_info(self, _request: pb.GetInfoRequest, _call: Call) -> pb.GetInfoResponse:
        """What is being served, and on what."""
        self._calls.check_ready()
        return wire.pack_info(self.info())

    def info(self) -> wire.Info:
        """What is being served, and on what; of a warm embedder."""
        embedder, calls = self._embedder, self._calls
        manifest, limits = embedder.bundle.manifest, embedder.limits
        return wire.Info(
            version=metadata.version("penultimate"),
            backbone=manifest.backbone,
            fingerprint=embedder.fingerprint,
            dim=embedder.dim,
            numerics=embedder.numerics,
            input_size=(manifest.preprocessing.height, manifest.preprocessing.width),
            message_bytes=calls.limits.message_bytes,
            items_per_call=calls.limits.items_per_call,
            image_bytes=limits.image_bytes,
            image_pixels=limits.image_pixels,
            batch_size=embedder.batch_size,
            parallel_runs=embedder.parallel,
            golden_cosine=embedder.golden_cosine,
        )

    def admit(self, call: Call, count: int, fingerprint: str) -> None:
        """Accept `count` items of the backbone that the caller wants, if it names one."""
        self._calls.check_ready()
        if count > (most := self._calls.limits.items_per_call):
            raise InvalidArgument(
                f"the call has {count} images and may have {most}: split it into several calls"
            )
        if count * (reply := REPLY_BYTES + 4 * self._embedder.dim) > self._calls.limits.message_bytes:
            raise InvalidArgument(
                f"the answer to {count} images may have {count * reply:,} bytes, and a message at most "
                f"{self._calls.limits.message_bytes:,}: split the call into several"
            )
        if fingerprint and fingerprint != self._embedder.fingerprint:
            raise FingerprintMismatch(
                "what the caller has", expected=self._embedder.fingerprint, found=fingerprint
            )
        self._calls.accept(call, count)
