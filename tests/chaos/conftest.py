"""What the tests of faults share: pictures whose vectors are known, and what to ask a process."""

from __future__ import annotations

import hashlib
import io
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.backbones.bundle import Bundle
from extractor.embedder import Embedder
from extractor.results import Result
from extractor.settings import DataFolder
from tests.service.conftest import PATIENCE_S, ServerProcess, serve, server_address

__all__ = ["PATIENCE_S", "Album", "FaultyServer", "peak_mb", "serve", "server_address", "wait_for"]

Serve = Callable[..., ServerProcess]
"""The type of the fixture `serve`."""


class Album:
    """Few photos with known vectors, in as many files as wanted: each file has a comment of its own.

    So every file has another digest and is really computed, and its vector is known all the same.
    """

    def __init__(self, bundle: Bundle, data: DataFolder) -> None:
        self._photos = [_small(item.image) for item in bundle.golden()]
        with Embedder(data=data, cache=None) as embedder:
            self._vectors = [result.embedding for result in embedder.embed(self._photos)]

    def file(self, number: int) -> bytes:
        """A JPEG file unlike that of any other number."""
        photo, comment = self._photos[number % len(self._photos)], str(number).encode()
        return photo[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]

    def check(self, number: int, result: Result | pb.ImageResult) -> None:
        """The result is that of `file(number)`."""
        embedding = result.embedding
        vector = np.frombuffer(embedding, "<f4") if isinstance(embedding, bytes) else embedding
        assert vector is not None
        assert len(vector), result.error
        assert result.digest == hashlib.sha256(self.file(number)).digest()
        np.testing.assert_allclose(vector, self._vectors[number % len(self._vectors)], rtol=1e-3, atol=1e-3)


def _small(image: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").resize((64, 64)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def album(bundle: Bundle, exported_data: DataFolder) -> Album:
    return Album(bundle, exported_data)


class FaultyServer(ServerProcess):
    """The real server with batches of eight, and a network that raises for a black picture.

    At a white one it stands still until the process has had SIGUSR1.
    """

    program = ("-m", "tests.chaos.faulty_server", "serve")


@pytest.fixture
def faulty(data: DataFolder, tmp_path: Path) -> Iterator[FaultyServer]:
    server = FaultyServer(data, tmp_path / "faulty.log", "--no-cache")
    yield server
    assert server.end() == 0


class Measured:
    """A real server, and what its metrics say."""

    def __init__(self, server: ServerProcess) -> None:
        self.process = server
        self.address = server.address
        self._metrics = next(word for word in server.line.split() if word.startswith("metrics=")).split("=")[
            1
        ]

    def metric(self, name: str) -> float:
        """The value of a metric that has no labels."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=PATIENCE_S) as response:
            lines = response.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"penultimate_{name} ")).split()[1])

    def idle(self) -> bool:
        """Whether nothing is in flight and nothing is queued."""
        return not any(map(self.metric, ("requests_in_flight", "queue_items", "queue_bytes")))


@pytest.fixture
def measured(serve: Serve) -> Measured:
    """A server that exposes metrics, with a cache."""
    return Measured(serve("--metrics-address", "127.0.0.1:0"))


@pytest.fixture(scope="session")
def fuzzed(exported_data: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that gets garbage; at the end it is well, and saw no fault of its own in it."""
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "backbones").symlink_to(exported_data.backbones)
    server = ServerProcess(DataFolder(folder), folder / "server.log")
    yield server
    assert server.end() == 0
    assert "Traceback" not in server.log.read_text()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds, which it has to within a minute."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)


def peak_mb(server: ServerProcess) -> int:
    """The most memory that the server ever had."""
    return _status(server, "VmHWM") // 1024


def _status(server: ServerProcess, name: str) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
