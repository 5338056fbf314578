"""The cache's disk is full, its file is damaged: the service computes on, says so, and answers rightly."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from extractor.client import Client
from extractor.settings import DataFolder
from tests.chaos.conftest import Album, Measured, Serve, wait_for
from tests.service.conftest import ServerProcess

IMAGES = 120
"""So many rows fill the small disk several times."""


def computes_on(server: ServerProcess, album: Album, numbers: range) -> list[bool]:
    """Every image is answered rightly; for each, whether it was remembered."""
    with Client(server.address) as client:
        results = client.embed(album.file(number) for number in numbers)
    for number, result in zip(numbers, results, strict=True):
        album.check(number, result)
    return [result.cached for result in results]


@pytest.fixture
def small_disk(data: DataFolder) -> Iterator[Path]:
    """A file system of 512 KiB where the cache lies."""
    data.cache.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(data.cache)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield data.cache
    subprocess.run(["umount", "--lazy", str(data.cache)], check=True)


def test_a_full_disk_stops_nothing(small_disk: Path, serve: Serve, album: Album) -> None:
    """All are computed, those that still found room are remembered, and the log says why others are not."""
    server = serve()
    computes_on(server, album, range(IMAGES))
    assert "cannot write to the cache" in server.log.read_text()
    assert "MiB are free" in server.log.read_text()
    remembered = computes_on(server, album, range(IMAGES))
    assert not all(remembered)
    assert server.end() == 0


def test_a_disk_that_has_room_again_is_used_again(small_disk: Path, serve: Serve, album: Album) -> None:
    """Without a restart: what was computed while it was full is lost, what comes then is remembered."""
    filler = small_disk / "filler"
    server = serve()
    filler.write_bytes(bytes(free(small_disk)))
    computes_on(server, album, range(40))
    assert not any(computes_on(server, album, range(40)))
    filler.unlink()
    computes_on(server, album, range(30))
    assert all(computes_on(server, album, range(30)))
    assert server.end() == 0


def test_a_disk_that_is_full_from_the_start_stops_nothing(
    small_disk: Path, serve: Serve, album: Album
) -> None:
    """Vectors are remembered in memory then, as long as the server lives."""
    (small_disk / "filler").write_bytes(bytes(free(small_disk)))
    server = serve()
    assert "remembered only while this process runs" in server.log.read_text()
    assert not any(computes_on(server, album, range(20)))
    assert all(computes_on(server, album, range(20)))
    assert server.end() == 0


def rows(cache: Path) -> int:
    """How many are on disk."""
    with lmdb.open(str(cache), map_size=2**30, readonly=True) as environment:
        return int(environment.stat()["entries"])


def free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bfree * room.f_frsize


def test_a_file_that_may_not_grow_stops_nothing(serve: Serve, album: Album) -> None:
    """A limit on the size of files, as containers and quotas have it."""
    server = serve()
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2**18, 2**18))
    computes_on(server, album, range(IMAGES))
    assert "cannot write to the cache" in server.log.read_text()
    assert server.end() == 0


def cut_in_half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def leave_a_few_bytes(file: Path) -> None:
    os.truncate(file, 100)


def zero(file: Path) -> None:
    overwrite(file, bytes(file.stat().st_size))


def garble(file: Path) -> None:
    overwrite(file, random.Random(1).randbytes(file.stat().st_size))


def garble_the_head(file: Path) -> None:
    overwrite(file, random.Random(2).randbytes(8192))


def garble_every_second_page(file: Path) -> None:
    chance, data = random.Random(3), bytearray(file.read_bytes())
    for page in range(2 * 4096, len(data), 2 * 4096):
        data[page : page + 4096] = chance.randbytes(4096)
    overwrite(file, bytes(data))


def overwrite(file: Path, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.write(data)


damaged = pytest.mark.parametrize(
    "damage", [cut_in_half, empty, leave_a_few_bytes, zero, garble, garble_the_head, garble_every_second_page]
)


@damaged
def test_a_cache_damaged_before_the_start_is_begun_anew(
    serve: Serve, album: Album, data: DataFolder, damage: Callable[[Path], None]
) -> None:
    """What cannot be read is computed, and is remembered from then on."""
    first = serve()
    computes_on(first, album, range(IMAGES))
    assert first.end() == 0
    damage(data.cache / "data.mdb")
    second = serve()
    assert not all(computes_on(second, album, range(IMAGES)))
    computes_on(second, album, range(IMAGES))  # what was computed before the damage was seen is lost
    assert all(computes_on(second, album, range(IMAGES)))
    assert second.end() == 0


@damaged
def test_a_cache_damaged_while_serving_is_begun_anew(
    measured: Measured, album: Album, data: DataFolder, damage: Callable[[Path], None]
) -> None:
    """The process lives on, whatever it has mapped of the file; the failure is said, and counted."""
    server = measured.process
    computes_on(server, album, range(IMAGES))
    wait_for(lambda: rows(data.cache) == IMAGES)
    damage(data.cache / "data.mdb")
    computes_on(server, album, range(IMAGES))
    computes_on(server, album, range(IMAGES))
    assert all(computes_on(server, album, range(IMAGES)))
    assert f"the cache {data.cache} is damaged" in server.log.read_text()
    assert measured.metric("cache_failures_total") > 0
    assert server.end() == 0
