"""Running our commands as a user does: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from extractor.cli.main import penultimate as commands
from extractor.cli.main import run as run_command
from extractor.settings import DataFolder

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

MODEST = """
import ctypes, resource, signal, sys
DROP_CAPABILITY, OVERRIDE_PERMISSIONS, READ_ANYTHING = 24, 1, 2
for capability in (OVERRIDE_PERMISSIONS, READ_ANYTHING):
    ctypes.CDLL(None).prctl(DROP_CAPABILITY, capability, 0, 0, 0)
if largest := int(sys.argv[1]):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
import os
os.execv(sys.executable, [sys.executable, "-m", "extractor.cli", *sys.argv[2:]])
"""
"""Runs a command that obeys permissions, also for root, and writes at most so many bytes into a file."""

STUCK = """
import signal, sys, threading
from extractor import sources
from extractor.cli import main
from extractor.embedder import Embedder

read, close, closed = sources.read, Embedder.close, threading.Event()
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGUSR1, lambda *_: None)

def stuck(image, *rest):
    if str(image).endswith("stuck.png"):
        print("stuck", flush=True)
        while not closed.wait(0.5):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    return read(image, *rest)

def release(self):
    closed.set()
    close(self)

sources.read, Embedder.close = stuck, release
main()
"""
"""Runs a command that says "stuck" when it comes to the image stuck.png, and waits there to be stopped.

It wakes the main thread now and then, as images that are done would: Python sees a signal that comes
just before it begins to wait for a lock when that wait ends. Ctrl-C counts also where the tests run in
the background of a shell, which ignores it.
"""


@pytest.fixture
def environment(data: DataFolder) -> dict[str, str]:
    """Ours, with a data folder of this test's own."""
    return {**os.environ, "PENULTIMATE_DATA": str(data.root)}


@pytest.fixture
def penultimate(environment: dict[str, str], tmp_path: Path) -> Run:
    """`penultimate(*arguments, input=None, largest=0)`, in `tmp_path`; files have at most `largest` bytes."""

    def run(
        *arguments: str | bytes, input: str | None = None, largest: int = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MODEST, str(largest), *arguments],
            input=input,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, **env},
            timeout=120,
        )

    return run


@pytest.fixture
def start_stuck(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """`start_stuck(*arguments)`: a job that has come to the image stuck.png, and stays there."""
    jobs: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        job = subprocess.Popen(
            [sys.executable, "-c", STUCK, *arguments], text=True, cwd=tmp_path, env=environment, **pipes
        )
        jobs.append(job)
        assert job.stdout.readline() == "stuck\n", job.stderr.read()
        return job

    yield start
    for job in jobs:
        with job:
            job.kill()


@pytest.fixture
def call(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`call(*arguments)` in this process: exit code, standard output, standard error."""

    def called(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_command(commands, [*map(str, arguments), "--data", str(data.root)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return called


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A cat, a cup and an astronaut, each as PNG and as JPEG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, show in enumerate((skimage.data.chelsea, skimage.data.coffee, skimage.data.astronaut)):
        picture = Image.fromarray(show()).resize((240, 240))
        picture.save(folder / f"{number}-a.png")
        picture.save(folder / f"{number}-b.jpg", quality=90)
    return folder
