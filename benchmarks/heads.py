"""What classifying costs beside the embedding, and noting what was classified.

    python -m benchmarks.heads --data DIR [--images 200] [--classes 10]

In one run, in turns, on one image at a time and on sixteen: the embedding of
images that are not remembered, a logistic head's answer to these, of which the
distance to the classes is a part, and what the server adds to watch for drift.
Prints the medians, and their ratio: both together must stay under 2 % of the
embedding.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.machine import describe
from benchmarks.photos import jpegs
from classifiers.data.features import Features
from classifiers.distribution.live import Live, Sighting
from classifiers.heads import Head
from classifiers.training.train import train
from extractor.embedder import Embedder
from extractor.results import Vector
from extractor.settings import DataFolder

MOST = 0.02
"""Of the time of the embedding."""


def head_of(embedder: Embedder, classes: int) -> Head:
    """A head on random rows of the embedding's width, as large as a real one."""
    rng = np.random.default_rng(0)
    y = np.arange(200 * classes) % classes
    X = (rng.normal(size=(classes, embedder.dim))[y] + rng.normal(size=(len(y), embedder.dim))).astype(
        np.float32
    )
    digests = np.array([hashlib.sha256(row.tobytes()).hexdigest() for row in X])
    names = [str(row) for row in range(len(y))]
    features = Features(
        X=X,
        y=y.astype(str),
        digests=digests,
        images=names,
        fingerprint=embedder.fingerprint,
        rejected=[],
    )
    return train("benchmark", features, backbone="benchmark").head


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def answers(head: Head, X: Vector, live: Live) -> tuple[float, float]:
    """Seconds to judge the rows, and to note what was said of them."""
    judging = seconds(lambda: head.judge(X))
    found = head.judge(X)
    noting = seconds(
        lambda: live.note(Sighting(each.score or 0.0, each.answers[0].index, b"", "") for each in found)
    )
    return judging, noting


def measure(embedder: Embedder, head: Head, images: Sequence[bytes], together: int) -> None:
    """Embed and classify in turns, so many at a time."""
    live = Live()
    embedding, judging, noting = [], [], []
    for at in range(0, len(images) - together + 1, together):
        some = images[at : at + together]
        rows: list[Vector] = []

        def embed(some: Sequence[bytes] = some, rows: list[Vector] = rows) -> None:
            rows.extend(each.embedding for each in embedder.embed(some) if each.embedding is not None)

        embedding.append(seconds(embed))
        judged, noted = answers(head, np.stack(rows), live)
        judging.append(judged)
        noting.append(noted)
    base, judged, noted = median(embedding), median(judging), median(noting)
    print(
        f"{together:3} at a time: embedding {1e3 * base:.2f} ms, answer {1e6 * judged:.0f} us "
        f"({judged / base:.2%} of it), noting {1e6 * noted:.1f} us ({noted / base:.3%}); "
        f"together {(judged + noted) / base:.2%}, must stay under {MOST:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a data folder with an exported backbone")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--provider", default="auto")
    given = parser.parse_args()
    print(describe())
    threadpool_limits(1, "blas")  # as the server does
    with Embedder(data=DataFolder(given.data), provider=given.provider, cache=None) as embedder:
        head = head_of(embedder, given.classes)
        images = jpegs(given.images)
        embedder.embed(images[:8])
        print(f"{embedder.numerics}, {given.classes} classes, {len(images)} images")
        for together in (1, 16):
            measure(embedder, head, images, together)


if __name__ == "__main__":
    main()
