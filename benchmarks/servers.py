"""Starts the servers to compare: ours, a bare one, and the peers in their own environment."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.callers import Target
from benchmarks.load import Load
from benchmarks.processes import Group
from extractor.settings import DEFAULT_BACKBONE, DataFolder

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / "benchmarks/peers/.venv/bin/python"
OURS, BARE = "penultimate", "bare"
METHOD, BARE_METHOD = "/penultimate.v1.Extractor/Embed", "/bare.Bare/Embed"

PEERS = {
    "grpcio": ("grpc", "/peer.Peer/Embed"),
    "fastapi": ("http", "/embed"),
    "mosec": ("http", "/inference"),
    "litserve": ("http", "/embed"),
}
"""Name: how it is talked to. What each does is in `benchmarks/peers/NAME_server.py`."""

PACKAGES = (
    "onnxruntime-openvino",
    "onnxruntime",
    "pillow",
    "grpcio",
    "fastapi",
    "uvicorn",
    "mosec",
    "litserve",
)


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    name: str
    group: Group
    target: Target
    numerics: str


@contextmanager
def ours(data: DataFolder, provider: str, precision: str, *, cache: bool = False) -> Iterator[Served]:
    """`penultimate serve` as users start it, but for the cache."""
    command = [sys.executable, "-m", "extractor.cli", "serve", "--address", "127.0.0.1:0"]
    command += ["--data", str(data.root), "--log-level", "warning"]
    command += ["--provider", provider, "--precision", precision] + ([] if cache else ["--no-cache"])
    with _announced(OURS, command) as (group, words):
        numerics = next(word for word in words if word.startswith("numerics=")).partition("=")[2]
        yield Served(OURS, group, Target("penultimate", words[2], METHOD), numerics)


@contextmanager
def bare(data: DataFolder, numerics: str, *, queue: int = 0) -> Iterator[Served]:
    """`benchmarks.bare_server`: our own work behind nothing but gRPC."""
    command = [sys.executable, "-m", "benchmarks.bare_server", "--data", str(data.root)]
    command += ["--numerics", numerics, "--queue", str(queue)]
    with _announced(BARE, command) as (group, words):
        target = Target("grpc", words[2], BARE_METHOD)
        yield Served(BARE, group, target, numerics)


@contextmanager
def _announced(name: str, command: Sequence[str]) -> Iterator[tuple[Group, list[str]]]:
    """A server that says where it listens, and the words that it says."""
    with _group(command, {}, piped=True) as group:
        assert group.process.stdout
        line = group.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{name} did not start: {group.log.read_text()}")
        yield group, line.split()


def peer(
    name: str, data: DataFolder, numerics: str, load: Load, *, queue: int = 0
) -> AbstractContextManager[Served]:
    """Another server than ours, which computes on `numerics`; ready when it is here."""
    return bare(data, numerics, queue=queue) if name == BARE else _peer(name, data, numerics, load, queue)


@contextmanager
def _peer(name: str, data: DataFolder, numerics: str, load: Load, queue: int) -> Iterator[Served]:
    """From the peers' environment."""
    protocol, path = PEERS[name]
    port = _free_port()
    environment = {
        "PEER_BUNDLE": str((data.backbones / DEFAULT_BACKBONE).resolve()),
        "PEER_NUMERICS": numerics,
        "PEER_PORT": str(port),
        "PEER_QUEUE": str(queue),
    }
    command = [str(PEERS_PYTHON), "-m", f"benchmarks.peers.{name}_server"]
    target = Target("grpc" if protocol == "grpc" else "http", f"127.0.0.1:{port}", path)
    with _group(command, environment) as group:
        try:
            load.wait_for(target)
        except Exception as error:  # noqa: BLE001 - whatever it was, the peer's log knows more
            sys.exit(f"{name} did not start ({error}): {group.log.read_text()[-2000:]}")
        yield Served(name, group, target, numerics)


@contextmanager
def peers(
    names: Sequence[str], data: DataFolder, numerics: str, load: Load, *, queue: int = 0
) -> Iterator[list[Served]]:
    """Several peers at the same time."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(peer(name, data, numerics, load, queue=queue))
            for name in names
            if name != OURS
        ]


def provided(provider: str, precision: str) -> str:
    """What ours computes on when asked so, such as `cpu/fp32`."""
    from extractor.backbones.providers import wanted

    return str(next(wanted(provider, precision)))


def check_peers(names: Sequence[str]) -> None:
    """Exit with what to do when peers are wanted and their environment is not there."""
    if any(name in PEERS for name in names) and not PEERS_PYTHON.exists():
        sys.exit("the peers' environment is not there: `make peers`, or `--servers penultimate`")


def versions() -> dict[str, str]:
    """What the peers' environment holds."""
    if not PEERS_PYTHON.exists():
        return {}
    code = (
        "import importlib.metadata as m, json, sys\n"
        "have = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: have[n] for n in sys.argv[1:] if n in have}))"
    )
    found = subprocess.run(
        [PEERS_PYTHON, "-c", code, *PACKAGES], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(found.stdout))


@contextmanager
def _group(command: Sequence[str], environment: dict[str, str], *, piped: bool = False) -> Iterator[Group]:
    with tempfile.TemporaryDirectory() as folder:
        group = Group(command, {**environment, "PYTHONPATH": str(ROOT)}, Path(folder) / "log", piped=piped)
        try:
            yield group
        finally:
            group.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
