"""Two servers on one data folder, as processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from extractor.client import Client
from extractor.errors import Unavailable
from extractor.settings import DataFolder
from tests.service.conftest import PATIENCE_S, serve

__all__ = ["serve"]


@pytest.fixture
def refused(data: DataFolder) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a server that is expected to end by itself."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "extractor.cli", "serve", "--address", "127.0.0.1:0"]
        command += ["--data", str(data.root), "--tune", "never", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    return run


def test_a_second_server_on_a_data_folder_refuses(
    serve: Callable[..., Any], refused: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In one sentence that names the first; killed, that one leaves no lock behind."""
    first = serve()
    second = refused()
    assert second.returncode == 1
    assert second.stdout == ""
    *logged, line = second.stderr.splitlines()
    assert all(entry.startswith("time=") for entry in logged), second.stderr
    assert f"process {first.process.pid} at {first.address}" in line
    assert "--no-collections" in line
    beside = serve("--no-collections")
    with Client(beside.address) as client, pytest.raises(Unavailable, match="another service"):
        client.collections()
    first.kill()
    third = serve()
    with Client(third.address) as client:
        assert client.collections() == []
