"""The session layer in this process beside a bare loop of ONNX Runtime with the same provider, in turns.

python -m benchmarks.session --data DIR [--rounds 9]

Pixels in, vectors out: nothing is decoded, hashed or remembered. Ours is what
an embedder has: its threads, and the network on the schedule that was chosen
for this machine. The bare loop runs the same graph with the same options and
batch size, in as many threads as are fastest: one a core, or two. Where the
processor has bf16, OpenVINO in bf16 is compared with the CPU provider in fp32.
"""

from __future__ import annotations

import argparse
import itertools
import operator
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from extractor import images
from extractor.backbones import providers, session
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import Numerics, installed_providers, wanted
from extractor.backbones.schedule import Schedule, Tuning
from extractor.network import Network
from extractor.pool import Pool
from extractor.settings import DEFAULT_BACKBONE, DataFolder, cores

MUST_REACH = 0.98
BF16_MUST_REACH = 2.0
FAST, PLAIN = Numerics("openvino", "bf16"), Numerics("cpu", "fp32")

Pixels = NDArray[np.uint8]


class Layer:
    """Ours: a pool of threads as an embedder's, and the network behind it.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
    numerics : Numerics
    prepare : callable
        What the pool's threads do to an item before it is run: nothing, or decoding.
    """

    def __init__(
        self, bundle: Bundle, data: DataFolder, numerics: Numerics, prepare: Callable[[Any], Pixels]
    ) -> None:
        self.network = Network(bundle, data, *numerics, Tuning(measure="once"))
        self._prepare = prepare
        threads = cores() if self.network.computes_here else 2 * cores()
        self._pool: Pool[Callable[[], object]] = Pool(operator.call, threads, "session")

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.network.batch_size, self.network.parallel)

    def rate(self, items: Sequence[Any], count: int) -> float:
        """Images a second, over `count` of these in turn."""
        left, failed = itertools.count(1), []
        finished = threading.Event()

        def done(outcome: object) -> None:
            if isinstance(outcome, BaseException):
                failed.append(outcome)
            if next(left) == count:  # one step of CPython's, so no two see the same number
                finished.set()

        def job(item: Any) -> Callable[[], object]:
            return lambda: self.network.batcher.submit(self._prepare(item), done)

        begun = time.perf_counter()
        for item in itertools.islice(itertools.cycle(items), count):
            self._pool.put(job(item))
        finished.wait()
        if failed:
            raise failed[0]
        return count / (time.perf_counter() - begun)

    def close(self) -> None:
        self._pool.close()
        self.network.batcher.close()


class Bare:
    """ONNX Runtime alone, on batches that lie ready."""

    def __init__(
        self,
        bundle: Bundle,
        data: DataFolder,
        numerics: Numerics,
        schedule: Schedule,
        pixels: Sequence[Pixels],
    ) -> None:
        graph = providers.graph(bundle, numerics, data)
        self._session = session.open_graph(bundle, graph, numerics, schedule.sizes, data)
        self._input = self._session.get_inputs()[0].name
        size = schedule.max_batch
        rounds = itertools.cycle(pixels)
        self._batches = [np.stack(list(itertools.islice(rounds, size))) for _ in pixels]
        self.threads = schedule.parallel

    def choose(self, count: int) -> None:
        """Find the best number of threads, in turns."""
        rates = {self.threads: 0.0, cores(): 0.0, 2 * cores(): 0.0}
        for _ in range(3):
            for self.threads in rates:
                rates[self.threads] = max(rates[self.threads], self.rate(count))
        self.threads = max(rates, key=lambda number: rates[number])

    def rate(self, count: int) -> float:
        """Images a second, over about `count`."""
        size = len(self._batches[0])
        left = iter(itertools.islice(itertools.cycle(self._batches), max(1, count // size)))
        lock, ran = threading.Lock(), []

        def run() -> None:
            while True:
                with lock:
                    batch = next(left, None)
                if batch is None:
                    return
                self._session.run(None, {self._input: batch})
                ran.append(size)

        begun = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            for thread in [pool.submit(run) for _ in range(self.threads)]:
                thread.result()
        return sum(ran) / (time.perf_counter() - begun)


def main() -> None:
    given = _options()
    found = report.Report(given, peers=False)
    bundle = Bundle.of(given.data, given.backbone)
    pixels = [images.decode(item.image, bundle.manifest.preprocessing) for item in bundle.golden()]
    candidates = list(wanted(given.provider, given.precision, bundle, given.data))
    ways: dict[str, Callable[[], float]] = {}
    layers: dict[Numerics, Layer] = {}
    for numerics in candidates:
        layer = layers[numerics] = Layer(bundle, given.data, numerics, lambda ready: ready)
        bare = Bare(bundle, given.data, numerics, layer.schedule, pixels)
        bare.choose(given.round // 2)
        found.say(f"{numerics} schedule", str(layer.schedule), f"{numerics}: {layer.schedule}")
        found.say(
            f"{numerics} threads", bare.threads, f"{numerics}: the bare loop has {bare.threads} threads"
        )
        ways[f"{numerics}, ours"] = lambda layer=layer: layer.rate(pixels, given.round)  # type: ignore[misc]
        ways[f"{numerics}, bare"] = lambda bare=bare: bare.rate(given.round)  # type: ignore[misc]
    rounds = in_turns(ways, given.rounds)
    found.table("images/s", [_row(name, rates) for name, rates in rounds.items()])
    _verdicts(found, candidates, rounds)
    for layer in layers.values():
        layer.close()
    found.save()


def in_turns(ways: dict[str, Callable[[], float]], number: int) -> dict[str, list[float]]:
    """Each way's rates, round by round; another goes first in each, and the first round does not count."""
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(-1, number):
        begin = turn % len(names)
        for name in names[begin:] + names[:begin]:
            rate = ways[name]()
            if turn >= 0:
                rounds[name].append(rate)
    return rounds


def ratios(mine: Sequence[float], other: Sequence[float]) -> list[float]:
    """Round by round, sorted."""
    return sorted(a / b for a, b in zip(mine, other, strict=True))


def _verdicts(found: report.Report, candidates: Sequence[Numerics], rounds: dict[str, list[float]]) -> None:
    for numerics in candidates:
        each = ratios(rounds[f"{numerics}, ours"], rounds[f"{numerics}, bare"])
        _say(found, f"{numerics}, ours / bare", each, MUST_REACH)
    if FAST in candidates and PLAIN in candidates:
        each = ratios(rounds[f"{FAST}, ours"], rounds[f"{PLAIN}, ours"])
        _say(found, f"{FAST} / {PLAIN}", each, BF16_MUST_REACH)


def _say(found: report.Report, name: str, each: Sequence[float], must: float) -> None:
    text = f"{name}: {median(each):.3f}, rounds {each[0]:.3f} to {each[-1]:.3f}; must reach {must}"
    found.say(name, median(each), text)


def _row(name: str, rates: Sequence[float]) -> report.Row:
    return {"way": name, "images/s": median(rates), "rounds from": min(rates), "to": max(rates)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=lambda text: DataFolder(Path(text)), default=DataFolder.default())
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--provider", choices=["auto", *installed_providers()], default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--round", type=int, default=400, help="images a round")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
