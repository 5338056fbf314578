"""Collections of many items: durable adds, opening, one query and 64, each beside a limit of this machine.

    python -m benchmarks.search [--items 100000] [--data DIR]

The vectors are mixtures of real embeddings (the backbone's golden ones), not
plain noise, in which every distance is the same.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from extractor.backbones.bundle import Bundle
from extractor.collections import Collection, Item
from extractor.indexes.exact import ExactIndex
from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder

BATCH = 256
K = 10


def mixtures(real: Vector, count: int) -> Vector:
    """Vectors of shape (count, dim) between the real ones, with some noise."""
    rng = np.random.default_rng(0)
    found = np.empty((count, real.shape[1]), np.float32)
    for start in range(0, count, 4096):
        shares = rng.dirichlet(np.full(len(real), 0.3), min(4096, count - start))
        part = shares @ real
        found[start : start + len(part)] = part + rng.normal(0, 0.5 * real.std(), part.shape)
    return found


def seconds(action: Callable[[], object], repeat: int = 5) -> float:
    """The best of some runs."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times)


def write_plainly(vectors: Vector, file: Path) -> None:
    """The limit of a durable add: the same bytes, appended and synced batch by batch."""
    with file.open("wb") as stream:
        for start in range(0, len(vectors), BATCH):
            stream.write(vectors[start : start + BATCH].tobytes())
            stream.flush()
            os.fsync(stream.fileno())


def add(data: DataFolder, vectors: Vector) -> None:
    """One commit for each batch."""
    with Collection.create(data, "bench", fingerprint="f", dim=vectors.shape[1], backbone="b") as collection:
        for start in range(0, len(vectors), BATCH):
            part = vectors[start : start + BATCH]
            collection.add(Item(f"photos/{start + n:07}.jpg", v) for n, v in enumerate(part))


def measure(data: DataFolder, vectors: Vector) -> None:
    count, queries = len(vectors), vectors[:: len(vectors) // 64][:64] * 1.01
    plain = seconds(lambda: write_plainly(vectors, data.root / "plain"), 1)
    (data.root / "plain").unlink()
    added = seconds(lambda: add(data, vectors), 1)
    print(
        f"durable adds, {BATCH} a commit: {count / added:,.0f}/s; {added / plain:.2f} x plain synced appends"
    )
    with Collection.open(data, "bench") as collection:
        begun = time.perf_counter()
        collection.search(queries[:1], K)
        print(f"open, fill the index from the store, first answer: {time.perf_counter() - begun:.2f} s")
        scan = seconds(lambda: vectors @ queries[0])
        one = seconds(lambda: collection.search(queries[:1], K))
        print(f"one query: {one * 1e3:.1f} ms; {one / scan:.2f} x a bare numpy scan ({scan * 1e3:.1f} ms)")
        many = seconds(lambda: collection.search(queries, K)) / len(queries)
        print(f"64 queries together: {many * 1e3:.2f} ms each; {many / one:.2f} of one alone")
        judge(collection, vectors, queries)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB; the vectors alone are {vectors.nbytes / 2**30:.2f} GiB, here twice")


def judge(collection: Collection, vectors: Vector, queries: Vector) -> None:
    """Compare with the exact index."""
    index = ExactIndex(vectors.shape[1])
    index.add(vectors)
    found = collection.search(queries, K)
    exact = index.search(queries, K)
    same = sum(
        [int(match.id[7:14]) for match in matches] == hits.rows[:K].tolist()
        for matches, hits in zip(found, exact, strict=True)
    )
    print(f"same {K} neighbours in the same order as the exact index: {same} of {len(queries)} queries")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--data", type=Path)
    given = options.parse_args()
    bundle = Bundle.of(DataFolder(given.data) if given.data else DataFolder.default(), DEFAULT_BACKBONE)
    vectors = mixtures(np.stack([golden.vector for golden in bundle.golden()]), given.items)
    print(describe())
    print(f"{len(vectors):,} items of {vectors.shape[1]} values")
    with tempfile.TemporaryDirectory() as folder:
        measure(DataFolder(Path(folder)), vectors)


if __name__ == "__main__":
    main()
