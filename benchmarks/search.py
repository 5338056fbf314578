"""Collections of many items: adds, opening, searches alone and beside writers, each with its limit.

    python -m benchmarks.search [--items 100000] [--data DIR] [--kind auto]

The vectors are mixtures of real embeddings (the backbone's golden ones), not
plain noise, in which every distance is the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from extractor.backbones.bundle import Bundle
from extractor.collections import Collection, Filter, Item, compaction, upkeep
from extractor.indexes.exact import ExactIndex
from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder

BATCH = 256
K = 10
SECONDS = 20.0
ADDED_A_SECOND = 500


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


def resident() -> float:
    """GiB of this process: what is its own, without files that are mapped."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 2**20


def write_plainly(vectors: Vector, file: Path) -> None:
    """The limit of a durable add: the same bytes, appended and synced batch by batch."""
    with file.open("wb") as stream:
        for start in range(0, len(vectors), BATCH):
            stream.write(vectors[start : start + BATCH].tobytes())
            stream.flush()
            os.fsync(stream.fileno())


def items(vectors: Vector, begin: int = 0) -> Iterator[Item]:
    return (Item(f"photos/{begin + n:07}.jpg", row, label=f"{n % 100}") for n, row in enumerate(vectors))


def add(data: DataFolder, vectors: Vector) -> None:
    """One commit for each batch."""
    with Collection.create(data, "bench", fingerprint="f", dim=vectors.shape[1], backbone="b") as collection:
        for start in range(0, len(vectors), BATCH):
            collection.add(items(vectors[start : start + BATCH], start))


def measure_adding(data: DataFolder, vectors: Vector) -> None:
    plain = seconds(lambda: write_plainly(vectors, data.root / "plain"), 1)
    (data.root / "plain").unlink()
    added = seconds(lambda: add(data, vectors), 1)
    rate = len(vectors) / added
    print(f"durable adds, {BATCH} a commit: {rate:,.0f}/s; {added / plain:.2f} x plain synced appends")


def measure_opening(data: DataFolder, query: Vector, kind: str) -> None:
    """From nothing to the first answer: built from the store, and loaded from disk."""

    def first() -> None:
        with Collection.open(data, "bench") as collection:
            collection.search(query, K)

    before = resident()
    print(f"first answer, the index read from the store: {seconds(first, 1):.2f} s (at most 10)")
    with Collection.open(data, "bench") as collection:
        built = seconds(lambda: collection.reindex({"kind": kind}), 1)
        index = collection.info().index
    print(
        f"the index built, measured and saved: {built:.1f} s; {index.reason}; recall@{K} {index.recall:.3f}"
    )
    print(f"first answer, the index loaded: {seconds(first, 3):.2f} s (at most 1)")
    shutil.rmtree(data.collections / "bench" / "index")
    print(f"first answer after the index was lost: {seconds(first, 1):.2f} s (at most 10)")
    print(f"memory of its own: {before:.2f} GiB before, {resident():.2f} after")


def measure_searching(collection: Collection, vectors: Vector, queries: Vector) -> None:
    scan = seconds(lambda: vectors @ queries[0])
    one = seconds(lambda: collection.search(queries[:1], K), 20)
    print(f"one query: {one * 1e3:.1f} ms; {one / scan:.2f} x a bare numpy scan ({scan * 1e3:.1f} ms)")
    many = seconds(lambda: collection.search(queries, K)) / len(queries)
    print(f"64 queries together: {many * 1e3:.2f} ms each; {many / one:.2f} of one alone")
    where = Filter.parse("label = '7'")
    few = seconds(lambda: collection.search(queries[:1], K, where=where))
    print(
        f"one query among the hundredth part that a filter means: {few * 1e3:.1f} ms; {few / one:.2f} of all"
    )


def times_of_searches(collection: Collection, queries: Vector, during: float) -> Vector:
    """Of one search after another, in milliseconds."""
    times: list[float] = []
    end = time.perf_counter() + during
    while (begun := time.perf_counter()) < end:
        collection.search(queries[len(times) % len(queries)][None], K)
        times.append((time.perf_counter() - begun) * 1e3)
    return np.array(times, np.float32)


@contextmanager
def adding(collection: Collection, vectors: Vector) -> Iterator[list[int]]:
    """A thread that adds so many items a second, in commits of fifty; gives how many it has added."""
    stop, added = threading.Event(), [0]

    def run() -> None:
        begun = time.perf_counter()
        while not stop.is_set():
            start = added[0] % (len(vectors) - 50)
            collection.add(items(vectors[start : start + 50], 10_000_000 + added[0]))
            added[0] += 50
            stop.wait(max(0.0, begun + added[0] / ADDED_A_SECOND - time.perf_counter()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield added
    finally:
        stop.set()
        thread.join()


def measure_beside_writers(collection: Collection, vectors: Vector, queries: Vector) -> None:
    """Tails are compacted as often as they would be in hours."""
    compaction.TAIL, upkeep.DELAY = 1024, 0.1
    idle = times_of_searches(collection, queries, SECONDS)
    with adding(collection, vectors) as added:
        busy = times_of_searches(collection, queries, SECONDS)
    p99 = [float(np.percentile(times, 99)) for times in (idle, busy)]
    print(
        f"p99 of searches: {p99[0]:.1f} ms idle, {p99[1]:.1f} ms while {added[0] / SECONDS:.0f} items/s are "
        f"added and the index is compacted; {p99[1] / p99[0]:.2f} of idle (at most 2); medians "
        f"{np.median(idle):.1f} and {np.median(busy):.1f} ms; {collection.info().index.segments} segments"
    )


def judge(collection: Collection, vectors: Vector, queries: Vector) -> None:
    """Compare with the exact index."""
    index = ExactIndex(vectors.shape[1])
    index.add(vectors)
    found = collection.search(queries, K)
    exact = index.search(queries, K)
    same = [
        len({int(match.id[7:14]) for match in matches} & set(hits.rows[:K].tolist()))
        for matches, hits in zip(found, exact, strict=True)
    ]
    share = np.mean(same) / K
    print(f"of the {K} neighbours that the judge finds, {share:.1%} are found, for {len(same)} queries")


def measure(data: DataFolder, vectors: Vector, kind: str) -> None:
    queries = vectors[:: len(vectors) // 64][:64] * 1.01
    measure_adding(data, vectors)
    measure_opening(data, queries[:1], kind)
    with Collection.open(data, "bench") as collection:
        collection.reindex()
        judge(collection, vectors, queries)
        measure_searching(collection, vectors, queries)
        measure_beside_writers(collection, vectors, queries)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--data", type=Path, help="where the backbone is whose embeddings are mixed")
    options.add_argument("--kind", default="auto", help="of the index")
    given = options.parse_args()
    bundle = Bundle.of(DataFolder(given.data) if given.data else DataFolder.default(), DEFAULT_BACKBONE)
    vectors = mixtures(np.stack([golden.vector for golden in bundle.golden()]), given.items)
    print(describe())
    print(f"{len(vectors):,} items of {vectors.shape[1]} values")
    with tempfile.TemporaryDirectory() as folder:
        measure(DataFolder(Path(folder)), vectors, given.kind)


if __name__ == "__main__":
    main()
