"""How long callers wait at 70 % of the peak, when they come at random.

python -m benchmarks.tail --data DIR [--provider cpu] [--seconds 30]

Open loop: Poisson arrivals, one image each, whether others are answered or
not; a request's time runs from when it was due. Each server's peak is measured
first, in the same run, with 16 in flight. One server runs at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks import report
from benchmarks.load import Load, Open
from benchmarks.servers import OURS, Served, ours, peer, provided

MUST_REACH = 3.0


def main() -> None:
    parser = report.options(__doc__)
    add_options(parser)
    parser.add_argument("--share", type=float, default=0.7, help="arrivals / peak")
    parser.add_argument("--seconds", type=float, default=30, help="of arrivals, each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = report.parse(parser)
    found = report.Report(given)
    with Load(report.photos(given)) as load:
        found.table(f"open loop at {given.share:.0%} of the peak", list(rows(given, load)))
    found.say("must reach", MUST_REACH, f"p99 / p50 must reach {MUST_REACH} at most")
    found.save()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of both open loops."""
    parser.add_argument("--peak", type=int, default=600, help="images in each of 3 runs that find the peak")


def rows(given: argparse.Namespace, load: Load) -> Iterator[report.Row]:
    for name in given.servers:
        with serving(name, given, load) as server:
            peak = find_peak(server, load, given.peak)
            rounds = [
                load.open(server.target, given.share * peak, given.seconds, None, seed)
                for seed in range(given.rounds)
            ]
        yield row(name, peak, rounds)


@contextmanager
def serving(name: str, given: argparse.Namespace, load: Load, queue: int = 0) -> Iterator[Served]:
    """A server by its name, ready."""
    if name == OURS:
        with ours(given.data, given.provider, given.precision) as server:
            yield server
    else:
        numerics = provided(given.provider, given.precision)
        with peer(name, given.data, numerics, load, queue=queue) as server:
            yield server


def find_peak(server: Served, load: Load, images: int) -> float:
    """Images/s with 16 in flight: the median of three, after one that is not counted."""
    load.closed(server.target, images)
    return median(load.closed(server.target, images).rate for _ in range(3))


def row(name: str, peak: float, rounds: list[Open]) -> report.Row:
    ratios = sorted(one.percentile(99) / one.percentile(50) for one in rounds)
    return {
        "server": name,
        "peak images/s": peak,
        "p50 ms": 1e3 * median(one.percentile(50) for one in rounds),
        "p99 ms": 1e3 * median(one.percentile(99) for one in rounds),
        "p99 / p50": median(ratios),
        "rounds from": ratios[0],
        "to": ratios[-1],
        "not answered": sum(one.outcomes.total() - one.outcomes["answered"] for one in rounds),
        "load's cores": median(one.cores for one in rounds),
        "load late ms": 1e3 * max(one.lag for one in rounds),
    }


if __name__ == "__main__":
    main()
