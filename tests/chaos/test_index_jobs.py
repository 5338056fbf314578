"""`penultimate index` over broken files, killed, and twice at once: every good file is in, unharmed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest

from extractor import caches
from extractor.collections import Collection, Item
from extractor.collections.store import store_path
from extractor.results import Result
from extractor.settings import DataFolder
from tests.chaos.conftest import Album, wait_for
from tests.chaos.mutations import SEEDS

BROKEN = 2000
GOOD = 60

Break = Callable[[bytes, random.Random], bytes]

KINDS: dict[str, Break] = {
    "empty": lambda seed, draw: b"",
    "text": lambda seed, draw: b"not a picture " * draw.randrange(1, 50),
    "random": lambda seed, draw: draw.randbytes(draw.randrange(1, 3000)),
    "beginning": lambda seed, draw: seed[: draw.randrange(1, 24)],
    "beginning of random": lambda seed, draw: seed[:8] + draw.randbytes(500),
    "zeros": lambda seed, draw: bytes(draw.randrange(1, 3000)),
    "page": lambda seed, draw: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "no beginning": lambda seed, draw: bytes(16) + seed[16:],
    "huge": lambda seed, draw: _png(draw.randrange(2**20, 2**31), draw.randrange(2**20, 2**31)),
    "no pixels": lambda seed, draw: _png(16, 16),
    "no size": lambda seed, draw: _png(0, draw.randrange(9)),
}
"""What is no picture, each in its own way."""


def _png(width: int, height: int) -> bytes:
    """A PNG file that says its size, and has nothing more."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        )

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def written(folder: Path, album: Album, numbers: range) -> dict[str, int]:
    """Good files; which is which."""
    for number in numbers:
        (folder / f"{number:05}.jpg").write_bytes(album.file(number))
    return {str(folder / f"{number:05}.jpg"): number for number in numbers}


STUCK = """
import sys, threading
from extractor import sources
from extractor.cli import main

read = sources.read

def stuck(image, *rest):
    if str(image).endswith("stuck.jpg"):
        threading.Event().wait()
    return read(image, *rest)

sources.read = stuck
main()
"""
"""A job that never comes past the image stuck.jpg, so that it cannot end before it is killed."""


def started(
    data: DataFolder, *arguments: str, program: tuple[str, ...] = ("-m", "extractor.cli")
) -> subprocess.Popen[str]:
    command = [sys.executable, *program, "index", "c", *arguments, "--data", str(data.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def summary(job: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    out, err = job.communicate(timeout=300)
    assert job.returncode == code, err
    found: dict[str, Any] = json.loads(out)
    return found


def check(data: DataFolder, album: Album, files: dict[str, int]) -> None:
    """These files are in, and nothing else: each with its own digest and vector."""
    with Collection.open(data, "c") as collection:
        assert {entry.id for entry in collection.items()} == files.keys()
        for path, number in files.items():
            item: Item = collection.get(path)
            album.check(number, Result(item.vector, None, item.digest, False, collection.fingerprint))
            assert item.file is not None
            assert item.digest == hashlib.sha256(Path(path).read_bytes()).digest()


def test_thousands_of_broken_files_are_all_named_and_shift_no_row(
    data: DataFolder, album: Album, folder: Path, tmp_path: Path
) -> None:
    """Also links that lead nowhere, and a pipe; each has a reason, the others have their own vectors."""
    draw, broken, kinds = random.Random(1), set(), list(KINDS.values())
    for number in range(BROKEN):
        path = folder / f"{draw.randrange(GOOD):05}-{number}.jpg"
        path.write_bytes(kinds[number % len(kinds)](SEEDS[number % len(SEEDS)], draw))
        broken.add(str(path))
    for name, lead in (("nowhere", "nothing"), ("itself", "itself.jpg")):
        (folder / f"{name}.jpg").symlink_to(lead)
    os.mkfifo(folder / "pipe.jpg")
    broken.add(str(folder / "pipe.jpg"))
    files = written(folder, album, range(GOOD))
    report = tmp_path / "report.json"
    done = summary(started(data, str(folder), "--json", "--report", str(report)), code=3)
    named = {failure["id"]: failure["error"] for failure in done["failed"]}
    assert broken <= named.keys()
    assert not files.keys() & named.keys()
    assert all(named.values())
    assert (done["new"], done["items"], done["images"]) == (GOOD, GOOD, GOOD + len(named))
    rows = json.loads(report.read_text())
    assert {row["path"]: row["error"] for row in rows if row["status"] == "failed"} == named
    check(data, album, files)


def remembered(data: DataFolder) -> set[bytes]:
    """The keys of the vectors in the cache."""
    if not (data.cache / "lock.mdb").exists():
        return set()
    with (
        suppress(lmdb.Error),
        lmdb.open(str(data.cache), map_size=2**30, readonly=True) as environment,
        environment.begin() as view,
    ):
        return set(view.cursor().iternext(values=False))
    return set()  # it is just being made


def indexed(data: DataFolder) -> set[str]:
    if not store_path(data, "c").exists():
        return set()
    with Collection.open(data, "c") as collection:
        return {item.id for item in collection.items()}


def keys(data: DataFolder, paths: Set[str]) -> set[bytes]:
    with Collection.open(data, "c") as collection:
        fingerprint = collection.fingerprint
    return {caches.key(fingerprint, hashlib.sha256(Path(path).read_bytes()).digest()) for path in paths}


def test_a_killed_job_computes_nothing_twice_and_ends_with_every_file(
    data: DataFolder, album: Album, folder: Path
) -> None:
    """What was committed stays, what was only computed is remembered, the rest is computed.

    A vector may be in the collection before it is in the cache, which is written behind.
    """
    files = written(folder, album, range(320))
    stuck = folder / "stuck.jpg"
    stuck.write_bytes(album.file(320))
    for begun in (remembered, indexed):
        with started(data, str(folder), program=("-c", STUCK)) as job:
            wait_for(lambda: bool(begun(data)))  # noqa: B023 - called here
            job.kill()
            job.communicate()
    kept, known = indexed(data), remembered(data)
    assert kept
    assert known <= keys(data, files.keys())
    files[str(stuck)] = 320
    lacking = keys(data, files.keys() - kept)
    done = summary(started(data, str(folder), "--json"))
    assert (done["unchanged"], done["new"]) == (len(kept), len(files) - len(kept))
    assert done["new"] - done["cached"] == len(lacking - known)
    assert remembered(data) == known | lacking
    check(data, album, files)


def test_two_jobs_on_one_collection_at_once_get_everything_in(
    data: DataFolder, album: Album, folder: Path
) -> None:
    """Though they make it both, and half of their files are the same."""
    files = written(folder, album, range(90))
    halves = [[*files][:60], [*files][30:]]
    jobs = [started(data, *half, "--json") for half in halves]
    for job, half in zip(jobs, halves, strict=True):
        assert summary(job)["images"] == len(half)
    check(data, album, files)
