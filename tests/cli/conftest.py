"""Running our commands as a user does: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extractor.settings import DataFolder

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def penultimate(data: DataFolder, tmp_path: Path) -> Run:
    """`penultimate(*arguments, input=None)`, on a data folder of this test's own, in `tmp_path`."""

    def run(*arguments: str, input: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "extractor.cli", *arguments],
            input=input,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PENULTIMATE_DATA": str(data.root), **env},
            timeout=120,
        )

    return run
