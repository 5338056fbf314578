"""What is still answered in time when twice or three times as much comes as can be done.

python -m benchmarks.overload --data DIR [--provider cpu] [--seconds 10]

Open loop: Poisson arrivals, one image each, every request with a deadline of
1 s; nobody tries again. Answers in time a second are counted from the second
second to the last arrival. When the last caller is gone one more request
comes, with time enough. Each server's peak is measured first, in the same run,
with 16 in flight. One server runs at a time. Peers that can refuse work once a
queue is full are measured a second time with such a bound (`NAME, bounded`):
as many requests as they answer in half a second.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import report
from benchmarks.load import Load
from benchmarks.servers import Served
from benchmarks.tail import add_options, find_peak, serving

BOUNDABLE = ("grpcio", "fastapi", "mosec")
MUST_REACH = 0.9


def main() -> None:
    parser = report.options(__doc__)
    add_options(parser)
    parser.add_argument("--times", type=float, nargs="+", default=[2.0, 3.0], help="arrivals / peak")
    parser.add_argument("--seconds", type=float, default=10, help="of arrivals")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds")
    parser.add_argument("--bound", type=float, default=0.5, help="seconds of work in a bounded peer's queue")
    given = report.parse(parser)
    found = report.Report(given)
    with Load(report.photos(given)) as load:
        found.table(f"every request with {given.deadline:g} s", list(rows(given, load)))
    found.say("must reach", MUST_REACH, f"in time / peak must reach {MUST_REACH}; after: at once")
    found.save()


def rows(given: argparse.Namespace, load: Load) -> Iterator[report.Row]:
    for name in given.servers:
        with serving(name, given, load) as server:
            peak = find_peak(server, load, given.peak)
            yield from loaded(name, server, load, peak, given)
        if name in BOUNDABLE:
            with serving(name, given, load, queue=max(16, round(peak * given.bound))) as server:
                find_peak(server, load, given.peak)  # the same touches before
                yield from loaded(f"{name}, bounded", server, load, peak, given)


def loaded(
    name: str, server: Served, load: Load, peak: float, given: argparse.Namespace
) -> Iterator[report.Row]:
    for times in given.times:
        before = server.group.memory()
        with peak_memory(server) as most:
            found = load.open(server.target, times * peak, given.seconds, given.deadline, seed=1)
        yield {
            "server": name,
            "load / peak": times,
            "peak images/s": peak,
            "in time /s": found.rate,
            "of the peak": found.rate / peak,
            "p50 ms": 1e3 * found.percentile(50),
            **{kind: found.outcomes[kind] for kind in ("answered", "refused", "late", "failed")},
            "one after, ms": 1e3 * found.after,
            "a failure": found.failure[:80] or None,
            "MB before": before,
            "at most": most[0],
            "MB after": server.group.memory(),
            "load's cores": found.cores,
            "load late ms": 1e3 * found.lag,
        }


@contextmanager
def peak_memory(server: Served, seconds: float = 0.5) -> Iterator[list[float]]:
    """The most that the server holds in the meantime, in MB: a list of one."""
    most, over = [server.group.memory()], threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            most[0] = max(most[0], server.group.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        over.set()
        watching.join()


if __name__ == "__main__":
    main()
