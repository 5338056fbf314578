"""What is still answered in time when twice or three times as much comes as can be done.

python -m benchmarks.overload --data DIR [--provider cpu] [--rounds 3] [--seconds 10]

Open loop: Poisson arrivals, one image each, every request with a deadline of
1 s; nobody tries again. Answers in time a second are counted from the second
second to the last arrival. When the last caller is gone one more request
comes, with time enough. Each server's peak is measured before and after each
round, with 16 in flight, once it has nothing left to do: a round sends a multiple
of the first, and is compared with the mean of both, for the machine's pace
changes. Rates, shares and times are medians over the rounds, counts are sums,
and of the rest the worst is shown. `for each free core` divides both rates of a share by the cores that the
load leaves to the server. One server runs at a time. Peers that can refuse work
once a queue is full are measured a second time with such a bound (`NAME,
bounded`): as many requests as they answer in half a second. Ours computes equal
images that are under way once, so a photo should not come again within the
deadline: `a photo again, s` says when it does.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from benchmarks import report
from benchmarks.load import Load, Open
from benchmarks.servers import BARE, Served
from benchmarks.tail import add_options, find_peak, serving
from extractor.settings import cores

BOUNDABLE = (BARE, "grpcio", "fastapi", "mosec")
MUST_REACH = 0.9


def main() -> None:
    parser = report.options(__doc__)
    add_options(parser)
    parser.add_argument("--times", type=float, nargs="+", default=[2.0, 3.0], help="arrivals / peak")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of arrivals, each round")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds")
    parser.add_argument("--bound", type=float, default=0.5, help="seconds of work in a bounded peer's queue")
    parser.set_defaults(distinct=1500)
    given = report.parse(parser)
    found = report.Report(given)
    with Load(report.photos(given)) as load:
        found.table(f"every request with {given.deadline:g} s", list(rows(given, load)))
    found.say("must reach", MUST_REACH, f"in time / peak must reach {MUST_REACH}; after: at once")
    found.save()


class Peak(NamedTuple):
    """Images/s with 16 in flight, and the cores that the load kept busy for it."""

    rate: float
    cores: float


class Round(NamedTuple):
    """One round: what was sent a second and found, the peak around it; MB before, at most, after."""

    sent: float
    peak: Peak
    found: Open
    memory: tuple[float, float, float]

    @property
    def share(self) -> float:
        return self.found.rate / self.peak.rate

    @property
    def share_of_free(self) -> float:
        """The same by the cores that the load leaves to the server."""
        return self.share * (cores() - self.peak.cores) / (cores() - self.found.cores)


def rows(given: argparse.Namespace, load: Load) -> Iterator[report.Row]:
    for name in given.servers:
        with serving(name, given, load) as server:
            peak = find_peak(server, load, given.peak)
            yield from loaded(name, server, load, given)
        if name in BOUNDABLE:
            with serving(name, given, load, queue=max(16, round(peak * given.bound))) as server:
                find_peak(server, load, given.peak)  # the same touches before
                yield from loaded(f"{name}, bounded", server, load, given)


def loaded(name: str, server: Served, load: Load, given: argparse.Namespace) -> Iterator[report.Row]:
    rounds: dict[float, list[Round]] = {times: [] for times in given.times}
    for seed in range(given.rounds):
        for times, so_far in rounds.items():
            before = _peak(server, load, given.peak)
            sent = times * before.rate
            found, memory = _over(server, load, sent, given, seed)
            after = _peak(server, load, given.peak)
            around = Peak((before.rate + after.rate) / 2, (before.cores + after.cores) / 2)
            so_far.append(Round(sent, around, found, memory))
    for times, some in rounds.items():
        yield _row(name, times, some, given.distinct)


def _peak(server: Served, load: Load, images: int) -> Peak:
    """With nothing left to do, and a few images first."""
    load.idle(server.target)
    load.closed(server.target, images // 4)
    found = load.closed(server.target, images)
    return Peak(found.rate, found.cpu * found.rate / images)


def _over(
    server: Served, load: Load, rate: float, given: argparse.Namespace, seed: int
) -> tuple[Open, tuple[float, float, float]]:
    before = server.group.memory()
    with peak_memory(server) as most:
        found = load.open(server.target, rate, given.seconds, given.deadline, seed)
    return found, (before, most[0], server.group.memory())


def _row(name: str, times: float, rounds: Sequence[Round], distinct: int) -> report.Row:
    shares = sorted(one.share for one in rounds)
    return {
        "server": name,
        "load / peak": times,
        "peak images/s": median(one.peak.rate for one in rounds),
        "in time /s": median(one.found.rate for one in rounds),
        "of the peak": median(shares),
        "rounds from": shares[0],
        "to": shares[-1],
        "for each free core": median(one.share_of_free for one in rounds),
        "a photo again, s": min(distinct / one.sent for one in rounds),
        "p50 ms": 1e3 * median(one.found.percentile(50) for one in rounds),
        **{
            kind: sum(one.found.outcomes[kind] for one in rounds)
            for kind in ("answered", "refused", "late", "failed")
        },
        "one after, ms": 1e3 * max(one.found.after for one in rounds),
        "a failure": next((one.found.failure[:80] for one in rounds if one.found.failure), None),
        "MB before": rounds[0].memory[0],
        "at most": max(one.memory[1] for one in rounds),
        "MB after": rounds[-1].memory[2],
        "load's cores": median(one.found.cores for one in rounds),
        "load late ms": 1e3 * max(one.found.lag for one in rounds),
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
