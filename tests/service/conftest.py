"""Servers for the tests: the real one as a process, and ours over a stand-in."""

from __future__ import annotations

import asyncio
import gc
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from extractor._pb.penultimate.v1.penultimate_pb2_grpc import (
    ExtractorStub,
)
from extractor.caches import Row
from extractor.results import Result
from extractor.server import Server
from extractor.settings import DataFolder, Limits
from extractor.tickets import Load

PATIENCE_S = 60


class ServerProcess:
    """`penultimate serve` as a process; ready when made."""

    program: tuple[str, ...] = ("-m", "extractor.cli", "serve")

    def __init__(self, data: DataFolder, log: Path, *options: str, address: str = "127.0.0.1:0") -> None:
        self.log = log
        command = [sys.executable, *self.program, "--address", address]
        command += ["--data", str(data.root), "--tune", "never", *options]  # measuring takes seconds
        with log.open("w") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert self.process.stdout
        self.line = self.process.stdout.readline()  # empty when the process ended instead
        assert self.line.startswith("listening on "), log.read_text()
        self.address = self.line.split()[2]

    def end(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=PATIENCE_S)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture
def serve(data: DataFolder, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts real servers on this test's data folder; ends those that still run."""
    started: list[ServerProcess] = []

    def start(*options: str, address: str = "127.0.0.1:0") -> ServerProcess:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(ServerProcess(data, log, *options, address=address))
        return started[-1]

    yield start
    for server in started:
        if server.process.returncode is None:
            server.kill()


@pytest.fixture(scope="session")
def server_address(exported_data: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real server listens, as long as the tests last."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "backbones").symlink_to(exported_data.backbones)
    server = ServerProcess(DataFolder(folder), folder / "server.log")
    yield server.address
    assert server.end() == 0


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes PNG files of noise: another for every seed."""

    def make(seed: int, size: int = 64) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()

    return make


class StandIn:
    """Has what the service needs of an embedder; the test settles the futures."""

    dim = 3
    fingerprint = "ab" * 32
    numerics = "stand/in"
    golden_cosine = 1.0
    batch_size = parallel = 1
    limits = Limits()
    bundle: Any = SimpleNamespace(
        manifest=SimpleNamespace(backbone="stand-in", preprocessing=SimpleNamespace(height=5, width=7))
    )

    def __init__(self) -> None:
        self.submitted: list[Future[Result]] = []
        self.known: dict[bytes, np.ndarray] = {}
        self.on_submit: Callable[[bytes, Future[Result]], None] = lambda image, future: self.settle(
            future, len(image)
        )

    def warm(self) -> None:
        pass

    def load(self) -> Load:
        done = sum(future.done() for future in self.submitted)
        return Load(
            items=len(self.submitted) - done,
            bytes=0,
            oldest=0.0,
            computed=done,
            failed=0,
            dropped=0,
            refused=0,
            hits=0,
            misses=0,
            cache_failures=0,
            last_inference=time.monotonic(),
            alive=True,
        )

    def probe(self) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def check_room(self, deadline: float, ahead: int) -> None:
        pass

    def lookup(self, digests: Sequence[bytes]) -> list[Row | None]:
        found = [self.known.get(digest) for digest in digests]
        return [None if vector is None else Row(self.numerics, vector) for vector in found]

    def submit(self, images: Sequence[bytes], deadline: float) -> list[Future[Result]]:
        futures: list[Future[Result]] = [Future() for _ in images]
        for image, future in zip(images, futures, strict=True):
            self.on_submit(image, future)
        self.submitted += futures
        return futures

    def settle(self, future: Future[Result], value: float) -> None:
        vector = np.full(self.dim, value, np.float32)
        future.set_result(Result(vector, None, b"d" * 32, False, self.fingerprint))


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest_asyncio.fixture
async def cold_server(stand_in: StandIn) -> AsyncIterator[Server]:
    """Our server over the stand-in, in this process, before its warm-up."""
    server = Server(stand_in, "127.0.0.1:0")
    await server.start()
    yield server
    await server.stop(grace=0)


@pytest_asyncio.fixture
async def channel(cold_server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(cold_server.address) as channel:
        yield channel


@pytest_asyncio.fixture
async def stub(cold_server: Server, channel: grpc.aio.Channel) -> ExtractorStub:
    """Calls our server over the stand-in, after its warm-up."""
    await cold_server.warm()
    return ExtractorStub(channel)


@pytest.fixture
def collector_off() -> Iterator[None]:
    """What is in a cycle stays in memory meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def calls_in_memory() -> int:
    """Calls that gRPC's servers of this process hold, or that nobody can reach any more."""
    return sum(type(each).__name__ == "_ServicerContext" for each in gc.get_objects())


async def no_call_in_memory() -> None:
    """Wait for it: an answer is here before its call ends there."""
    async with asyncio.timeout(10):
        while calls_in_memory():
            await asyncio.sleep(0.01)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def submitted(stand_in: Any, count: int) -> None:
    """Wait until the service has handed over `count` images."""
    async with asyncio.timeout(PATIENCE_S):
        while len(stand_in.submitted) < count:
            await asyncio.sleep(0)
