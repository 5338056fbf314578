"""The Open Inference Protocol's calls: unpack, embed, pack."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from importlib import metadata
from reprlib import repr  # cut short: what a caller sends may be of any length

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from extractor import wire
from extractor._pb.inference import open_inference_pb2 as pb
from extractor.call import Call
from extractor.calls import Calls, Handler, Request
from extractor.errors import NotFound, PenultimateError
from extractor.health import Health
from extractor.kserve.messages import VERSION, Inference, describe, pack, unpack, unpack_images
from extractor.service import ExtractorService
from extractor.submission import Submission, Submits

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class InferenceService:
    """Answers for one embedder, whose backbone is the one model.

    Parameters
    ----------
    embedder : Embedder
    extractor : ExtractorService
        Its own service: both admit images by one rule.
    calls : Calls
        What it has in common with the other services on the port.
    health : Health
        Knows this service by its name.
    """

    def __init__(self, embedder: Submits, extractor: ExtractorService, calls: Calls, health: Health) -> None:
        self._embedder = embedder
        self._extractor = extractor
        self._calls = calls
        self._health = health

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method."""
        stream = self._calls.stream(
            f"{SERVICE}/ModelStreamInfer", self.infer_or_say_why, pb.ModelInferRequest
        )
        return {
            "ServerLive": self._small("ServerLive", self.server_live, pb.ServerLiveRequest),
            "ServerReady": self._small("ServerReady", self.server_ready, pb.ServerReadyRequest),
            "ModelReady": self._small("ModelReady", self.model_ready, pb.ModelReadyRequest),
            "ServerMetadata": self._small("ServerMetadata", self.server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": self._small("ModelMetadata", self.model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": self._calls.unary(
                f"{SERVICE}/ModelInfer",
                self.infer,
                pb.ModelInferRequest,
                self._calls.limits.unsaid_bytes,
                self._extractor.gate,
            ),
            "ModelStreamInfer": stream,
        }

    def _small(
        self, method: str, handler: Handler[Request], kind: type[Request]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What gRPC calls for a method without images: it takes no room, and is always answered."""
        return self._calls.unary(f"{SERVICE}/{method}", handler, kind, room=0)

    async def server_live(self, _request: pb.ServerLiveRequest, _call: Call) -> pb.ServerLiveResponse:
        """Who can answer lives."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _request: pb.ServerReadyRequest, _call: Call) -> pb.ServerReadyResponse:
        """As the server's health says."""
        return pb.ServerReadyResponse(ready=await self._is_healthy())

    async def model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> pb.ModelReadyResponse:
        """The same, of the one model."""
        served = self._serves(request.name, request.version)
        return pb.ModelReadyResponse(ready=served and await self._is_healthy())

    async def server_metadata(
        self, _request: pb.ServerMetadataRequest, _call: Call
    ) -> pb.ServerMetadataResponse:
        """Name and version."""
        return pb.ServerMetadataResponse(name="penultimate", version=metadata.version("penultimate"))

    async def model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> pb.ModelMetadataResponse:
        """What the model takes and gives."""
        self._calls.check_ready()
        self._check_served(request.name, request.version)
        return describe(self._extractor.info())

    def infer(self, request: pb.ModelInferRequest, call: Call) -> Awaitable[pb.ModelInferResponse]:
        """A row for each image, in order."""
        self._calls.check_ready()
        self._check_served(request.model_name, request.model_version)
        inference = unpack(request)
        self._extractor.admit(call, inference.count, inference.fingerprint)
        images = unpack_images(request, inference.count)
        name = request.id
        del request  # the same bytes once more
        deadline = min(call.deadline, time.monotonic() + inference.timeout)
        return self._results(Submission(self._embedder, images, deadline), call, inference, name)

    async def _results(
        self, images: Submission, call: Call, inference: Inference, name: str
    ) -> pb.ModelInferResponse:
        results = await images.results()
        call.answered(results)
        return pack(inference, results, self._extractor.info(), name)

    async def infer_or_say_why(
        self, request: pb.ModelInferRequest, call: Call
    ) -> pb.ModelStreamInferResponse:
        """As `infer`, for a stream, which goes on after a request that failed."""
        try:
            return pb.ModelStreamInferResponse(infer_response=await self.infer(request, call))
        except PenultimateError as error:
            code, why, _ = wire.status_of(error)
            return pb.ModelStreamInferResponse(error_message=f"{code.name}: {why}")

    async def _is_healthy(self) -> bool:
        reply = await self._health.Check(HealthCheckRequest(service=SERVICE), None)
        return bool(reply.status == HealthCheckResponse.SERVING)

    def _serves(self, name: str, version: str) -> bool:
        return name == self._embedder.bundle.manifest.backbone and version in ("", VERSION)

    def _check_served(self, name: str, version: str) -> None:
        if not self._serves(name, version):
            raise NotFound(
                f"there is no model {repr(name)} in version {repr(version)}: this server has "
                f"{self._embedder.bundle.manifest.backbone!r} in version {VERSION!r}"
            )
