"""Servers whose answers are the test's, and the two kinds of client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import (
    ExtractorServicer,
    add_ExtractorServicer_to_server,
)
from extractor.client import AsyncClient, Client
from extractor.results import Result


class Scripted(ExtractorServicer):
    """A server whose vectors are the images' lengths; notes requests, their headers and (Embed) times.

    What is `known` it remembers, by digest. `before` is called for each Embed
    with its number, from one on, and may fail it; `greet` for each GetInfo.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: list[pb.EmbedRequest] = []
        self.lookups: list[pb.LookupRequest] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.known: dict[bytes, float] = {}
        self.info = pb.GetInfoResponse(fingerprint="ab" * 32, dim=1, numerics="scripted")
        self.info.limits.MergeFrom(
            pb.Limits(message_bytes=2**26, items_per_call=1024, image_bytes=2**25, image_pixels=10**8)
        )
        self.before: Callable[[int, grpc.ServicerContext], object] = lambda number, context: None
        self.greet: Callable[[], object] = lambda: None

    def start(self, credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0") -> None:
        options = [("grpc.max_receive_message_length", 2**26), ("grpc.so_reuseport", 0)]
        self.server = grpc.server(ThreadPoolExecutor(8), options=options)
        add_ExtractorServicer_to_server(self, self.server)
        if credentials:
            port = self.server.add_secure_port(address, credentials)
        else:
            port = self.server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self.server.start()

    def stop(self) -> None:
        self.server.stop(grace=None).wait()

    def fail(self, code: grpc.StatusCode, times: int, *trailers: tuple[str, str | bytes]) -> None:
        """Let the first calls fail."""

        def before(number: int, context: grpc.ServicerContext) -> None:
            if number <= times:
                context.set_trailing_metadata(trailers)
                context.abort(code, "not now")

        self.before = before

    def GetInfo(self, request: pb.GetInfoRequest, context: grpc.ServicerContext) -> pb.GetInfoResponse:  # noqa: N802
        self.headers.append(dict(context.invocation_metadata()))
        self.greet()
        return self.info

    def Lookup(self, request: pb.LookupRequest, context: grpc.ServicerContext) -> pb.LookupResponse:  # noqa: N802
        self.headers.append(dict(context.invocation_metadata()))
        self.lookups.append(request)
        known = [self.known.get(digest) for digest in request.digests]
        return pb.LookupResponse(
            fingerprint=request.fingerprint,
            dim=1,
            embeddings=[b"" if value is None else vector(value, request.form) for value in known],
            numerics=["" if value is None else "scripted/fp32" for value in known],
            form=request.form,
        )

    def Embed(self, request: pb.EmbedRequest, context: grpc.ServicerContext) -> pb.EmbedResponse:  # noqa: N802
        with self.lock:  # calls come in several threads
            self.headers.append(dict(context.invocation_metadata()))
            self.times.append(time.monotonic())
            self.requests.append(request)
            number = len(self.requests)
        self.before(number, context)
        results = [
            pb.ImageResult(digest=b"d" * 32, embedding=vector(len(image), request.form))
            for image in request.images
        ]
        return pb.EmbedResponse(fingerprint=request.fingerprint, dim=1, results=results, form=request.form)


def vector(value: float, form: pb.VectorForm) -> bytes:
    number = "<f2" if form.number == pb.VectorForm.FLOAT16 else "<f4"
    return np.array([1 if form.unit_length else value], number).tobytes()


@pytest.fixture
def script() -> Iterator[Callable[..., Scripted]]:
    """Starts scripted servers; ends them with the test."""
    started: list[Scripted] = []

    def start(credentials: grpc.ServerCredentials | None = None, **options: Any) -> Scripted:
        started.append(Scripted())
        started[-1].start(credentials, **options)
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def scripted(script: Callable[..., Scripted]) -> Scripted:
    """A scripted server."""
    return script()


def blocking(address: Any, images: Iterable[Any], how: dict[str, Any], **options: Any) -> list[Result]:
    with Client(address, **options) as client:
        return client.embed(images, **how)


def awaiting(address: Any, images: Iterable[Any], how: dict[str, Any], **options: Any) -> list[Result]:
    async def embed() -> list[Result]:
        async with AsyncClient(address, **options) as client:
            return await client.embed(images, **how)

    return asyncio.run(embed())


@pytest.fixture(params=[blocking, awaiting])
def embed(request: pytest.FixtureRequest) -> Callable[..., list[Result]]:
    """Embeds by a new client of either kind: `embed(address, images, how={...of embed}, **of_the_client)`."""

    def call(address: Any, images: Iterable[Any], how: dict[str, Any] | None = None, **options: Any) -> Any:
        return request.param(address, images, how or {}, **options)

    return call
