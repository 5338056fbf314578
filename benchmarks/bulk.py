"""Indexing files whose vectors are remembered, beside plain synced appends of the same vectors.

    python -m benchmarks.bulk [--items 20000] [--data DIR] [--thumbnails 0] [--width 500] [--json FILE]

Each file is a JPEG with other bytes behind its end, which no decoder reads,
so that it is a file of its own; its vector is in the cache before the clock starts. Memory is
read from processes of their own, for so many files and for a tenth of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.photos import jpegs
from extractor import caches
from extractor.caches import Row
from extractor.caches.lmdb import LmdbCache
from extractor.collections import Collection, add_files
from extractor.collections.files import BATCH_ITEMS
from extractor.embedder import Embedder
from extractor.results import Vector
from extractor.settings import DataFolder
from extractor.sources import find

FOLDER = 1000
"""Files in one folder."""


def write_files(folder: Path, count: int, width: int) -> Iterator[bytes]:
    """Make the files; their digests."""
    photos = jpegs(64, width)
    for number in range(count):
        place = folder / f"{number // FOLDER:04}" / f"{number % FOLDER:03}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        content = photos[number % len(photos)] + number.to_bytes(8, "little")
        place.write_bytes(content)
        yield hashlib.sha256(content).digest()


def vectors(dim: int) -> Iterator[Vector]:
    """Without end."""
    rng = np.random.default_rng(0)
    while True:
        yield rng.standard_normal(dim, np.float32)


def remember(data: DataFolder, fingerprint: str, dim: int, digests: Iterator[bytes]) -> None:
    """Put vectors into the cache, as if the files had been embedded."""
    cache, made = LmdbCache(data.cache), vectors(dim)
    while batch := list(islice(digests, BATCH_ITEMS)):
        cache.put_many({caches.key(fingerprint, digest): Row("cpu/fp32", next(made)) for digest in batch})
    cache.close()


def plain_seconds(file: Path, count: int, dim: int) -> float:
    """The limit: as many vectors appended to a file, and synced as often as is committed."""
    source = islice(vectors(dim), count)
    batches = iter(lambda: b"".join(vector.tobytes() for vector in islice(source, BATCH_ITEMS)), b"")
    taken = 0.0
    with file.open("wb") as stream:
        for batch in batches:
            begun = time.perf_counter()
            stream.write(batch)
            stream.flush()
            os.fsync(stream.fileno())
            taken += time.perf_counter() - begun
    file.unlink()
    return taken


def index(data: DataFolder, folder: Path, name: str, thumbnails: int) -> dict[str, float]:
    """Index a folder; seconds, and at most so many MB of memory of this process."""
    with (
        Embedder(data=data) as embedder,
        Collection.create(
            data,
            name,
            fingerprint=embedder.fingerprint,
            dim=embedder.dim,
            backbone="efficientnet_lite0",
            thumbnails=thumbnails,
        ) as collection,
    ):
        statuses: dict[str, int] = {}

        def count(status: str) -> None:
            statuses[status] = statuses.get(status, 0) + 1

        with peak_memory() as memory:
            begun = time.perf_counter()
            add_files(collection, embedder, find([str(folder)]), lambda filed: count(filed.status))
            first = time.perf_counter()
            add_files(collection, embedder, find([str(folder)]), lambda filed: count(filed.status))
            second = time.perf_counter()
        if embedder.computed or statuses != {"new": len(collection), "unchanged": len(collection)}:
            raise RuntimeError(f"not all were remembered: {statuses}, {embedder.computed} computed")
    return {"first": first - begun, "again": second - first, "MB": max(memory)}


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """What the memory of this process is, five times a second."""
    seen, ended = [own_memory()], threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            seen.append(own_memory())

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        ended.set()
        watch.join()


def own_memory() -> float:
    """MB of this process's own; what it maps of the cache's file, the system takes back at will."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def measured(data: DataFolder, folder: Path, name: str, thumbnails: int) -> dict[str, float]:
    """The same in a process of its own."""
    call = (
        "import json, sys; from pathlib import Path; from benchmarks.bulk import index; "
        "from extractor.settings import DataFolder; "
        "data, folder = DataFolder(Path(sys.argv[1])), Path(sys.argv[2]); "
        "print(json.dumps(index(data, folder, sys.argv[3], int(sys.argv[4]))))"
    )
    command = [sys.executable, "-c", call, str(data.root), str(folder), name, str(thumbnails)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--items", type=int, default=20_000)
    options.add_argument("--data", type=lambda text: DataFolder(Path(text)), default=DataFolder.default())
    options.add_argument("--thumbnails", type=int, nargs="*", default=[0, 128], help="pixels; several")
    options.add_argument("--width", type=int, default=500, help="of the pictures, where the disk is small")
    options.add_argument("--json", type=Path, help="keep the figures in this file")
    given = options.parse_args()
    found = report.Report(given, peers=False)
    with tempfile.TemporaryDirectory() as place:
        data = DataFolder(Path(place))
        data.backbones.symlink_to(given.data.backbones.resolve())
        found.table("indexed, of the cache", list(_rows(data, given)))
    found.save()


def _rows(data: DataFolder, given: argparse.Namespace) -> Iterator[report.Row]:
    with Embedder(data=data, cache=None) as embedder:
        fingerprint, dim = embedder.fingerprint, embedder.dim
    for count in (max(1, given.items // 10), given.items):
        folder = data.root / f"photos-{count}"
        remember(data, fingerprint, dim, write_files(folder, count, given.width))
        for thumbnails in given.thumbnails:
            plain = plain_seconds(data.root / "plain", count, dim)
            figures = measured(data, folder, f"{thumbnails}-{count}", thumbnails)
            yield {
                "files": count,
                "thumbnails": thumbnails,
                "items/s": count / figures["first"],
                "of plain appends": plain / figures["first"],
                "unchanged/s": count / figures["again"],
                "MB": figures["MB"],
            }


if __name__ == "__main__":
    main()
