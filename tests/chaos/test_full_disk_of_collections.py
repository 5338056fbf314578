"""A full disk, at every step that writes: a sentence, nothing lost, and it goes on when there is room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.full_disk import STEPS

SMALL_DISK = 'mount -t tmpfs -o size=16m none "$1" && exec "$2" -m tests.chaos.full_disk disk "$1"'


def every_step_fails_and_succeeds(command: list[str]) -> None:
    """Each has failed somewhere, so it was tested; what must hold then is asserted by the process itself."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    failures = {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}
    assert failures.keys() == STEPS.keys()
    assert all(failures.values()), failures
    assert "Traceback" not in done.stderr


def test_files_that_may_not_grow_lose_nothing(tmp_path: Path) -> None:
    """As under a quota, which any user can have."""
    every_step_fails_and_succeeds([sys.executable, "-m", "tests.chaos.full_disk", "limit", str(tmp_path)])


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A real one, small, which only this process sees."""
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(tmp_path)], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    every_step_fails_and_succeeds([*alone, "sh", "-c", SMALL_DISK, "sh", str(tmp_path), sys.executable])
