"""The kinds of indexes: building, opening, one query and 64, and recall, each beside a bare numpy scan.

    python -m benchmarks.indexes [--items 100000] [--kinds exact exact-fp16 ivf] [--recall 0.99] [--data DIR]

The vectors are real embeddings, perturbed. A query's time is that of the whole
answer: candidates, their vectors read from a file as a collection reads
them from its store, and the scores.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.perturbed import Perturbed, real
from extractor.indexes import Hits, Rows, unit
from extractor.indexes.kinds import KINDS, RECALL, build, load, save
from extractor.indexes.segments import Segment, scored
from extractor.results import Vector
from extractor.settings import DataFolder

K = 10
TOGETHER = 64
QUERIES = 192
GIB = 2**30


class Stored:
    """Vectors in a file, in blocks of which no more than one is in memory."""

    def __init__(self, vectors: Vector) -> None:
        self.vectors = vectors

    def __iter__(self) -> Iterator[tuple[Rows, Vector]]:
        for start in range(0, len(self.vectors), 1024):
            block = self.vectors[start : start + 1024]
            yield np.arange(start, start + len(block)), block


def stored(blocks: Perturbed, count: int, dim: int, file: Path) -> Stored:
    vectors = np.memmap(file, np.float32, "w+", shape=(count, dim))
    for numbers, block in blocks:
        vectors[numbers[0] : numbers[-1] + 1] = block
    vectors.flush()
    return Stored(np.memmap(file, np.float32, "r", shape=(count, dim)))


def search(segment: Segment, given: Stored, queries: Vector) -> list[Hits]:
    """As a collection does it."""
    found = []
    for query, places in zip(queries, segment.candidates(queries, K), strict=True):
        units = segment.units(places)
        units = unit(given.vectors[places], queries.shape[1]) if units is None else units
        found.append(scored(query, segment.numbers[places], units, K))
    return found


def seconds(action: Callable[[], object], repeat: int = 7) -> float:
    """The median of some runs."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def truth(given: Stored, queries: Vector) -> tuple[list[Rows], float]:
    """The true neighbours, and the seconds of one bare scan: all vectors times one query, by numpy."""
    plain = np.concatenate([unit(block, queries.shape[1]) for _, block in given])
    scan = seconds(lambda: plain @ queries[0])
    scores = (plain @ queries[start : start + 16].T for start in range(0, len(queries), 16))
    return [np.argsort(-column)[:K] for part in scores for column in part.T], scan


def measure(kind: str, given: Stored, queries: Vector, true: list[Rows], scan: float, wanted: float) -> None:
    count, dim = given.vectors.shape
    begun = time.perf_counter()
    segment = build(kind, dim, given, count, wanted)  # type: ignore[arg-type]
    built = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        save(segment, Path(folder))
        opened = seconds(lambda: load(Path(folder)), 3)
        times = iter(np.resize(np.arange(len(queries)), 10_000))
        one = seconds(lambda: search(segment, given, queries[[next(times)]]), 25)
        many = seconds(lambda: search(segment, given, queries[:TOGETHER]), 5) / TOGETHER
        found = [hits.rows[:K] for hits in search(segment, given, queries)]
    right = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)])
    print(
        f"{segment.kind}: built in {built:.1f} s, {segment.nbytes / GIB:.2f} GiB, opened in {opened:.2f} s\n"
        f"  one query {one * 1e3:.2f} ms: {one / scan:.3f} of a scan\n"
        f"  {TOGETHER} together {many * 1e3:.2f} ms each: {many / one:.2f} of one, {many / scan:.3f} of it\n"
        f"  recall@{K} {right:.4f} by queries from outside, {segment.recall:.4f} when built; "
        f"peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=["exact", "exact-fp16", "ivf"])
    options.add_argument("--recall", type=float, default=RECALL)
    options.add_argument("--data", type=Path)
    given = options.parse_args()
    print(describe(), flush=True)
    sources = real(DataFolder(given.data) if given.data else DataFolder.default())
    dim = sources.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        vectors = stored(Perturbed(sources, given.items), given.items, dim, Path(folder) / "vectors")
        queries = unit(np.concatenate([block for _, block in Perturbed(sources, QUERIES, seed=1)]), dim)
        true, scan = truth(vectors, queries)
        print(
            f"{given.items:,} x {dim} around {len(sources)} real embeddings; a bare scan: {scan * 1e3:.1f} ms"
        )
        for kind in given.kinds:
            measure(kind, vectors, queries, true, scan, given.recall)


if __name__ == "__main__":
    main()
