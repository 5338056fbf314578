"""Throughput of our server and of others that do the same job, and of the work alone, in turns.

python -m benchmarks.compare --data DIR [--provider cpu] [--rounds 7]
python -m benchmarks.compare --data DIR --ours auto  # our defaults, peers on the CPU provider

JPEG in, vector out, 16 in flight, the client in a process of its own. The
limit decodes and runs the network in one process, with as many threads as are
fastest. Ours is called as users do (`Client.stream`), and, for a fair ranking,
with one image a request by the load itself, as the peers are. Every server's
vectors are compared with those of the limit first.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks import report
from benchmarks.limit import Limit
from benchmarks.load import Load
from benchmarks.servers import BARE, OURS, Served, ours, peers

CLIENT = "penultimate, own client"
PLAIN = "penultimate, plain calls"
LIMIT = "limit"
CHECKED_PHOTOS = 8


class Figures(NamedTuple):
    """One server's one round: images/s, cpu ms an image (all, the client's), p50 and p99 in ms."""

    rate: float
    cpu: float
    client: float
    seconds: list[float]


def main() -> None:
    given = _options()
    photos = report.photos(given)
    found = report.Report(given)
    with ExitStack() as stack:
        load = stack.enter_context(Load(photos))
        limit = Limit(given.data, given.provider, given.precision, photos)
        running = stack.enter_context(peers(given.servers, given.data, limit.numerics, load))
        if OURS in given.servers:
            provider = given.ours or given.provider
            running.insert(0, stack.enter_context(ours(given.data, provider, given.precision)))
        check(running, limit, load, photos)
        limit.choose(given.round // 2)
        found.say("limit threads", limit.threads, f"the limit: {limit.numerics}, {limit.threads} threads")
        rounds = measure(running, limit, load, given)
        found.table("16 in flight", table(rounds, running))
        verdict(found, rounds)
    found.save()


def _options() -> argparse.Namespace:
    parser = report.options(__doc__)
    parser.add_argument("--ours", help="our provider, where it is not the peers' and the limit's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--round", type=int, default=600, help="images a round")
    return report.parse(parser)


def check(running: list[Served], limit: Limit, load: Load, photos: list[bytes]) -> None:
    """Every server gives the vectors of the work in process."""
    expected = [limit.work(photo) for photo in photos[:CHECKED_PHOTOS]]
    for server in running:
        bound = 0.99 if "bf16" in server.numerics + limit.numerics else 0.999
        for vector, right in zip(load.vectors(server.target, CHECKED_PHOTOS), expected, strict=True):
            row = np.frombuffer(vector, "<f4")
            cosine = float(row @ right / np.linalg.norm(row) / np.linalg.norm(right))
            if not cosine > bound:
                raise SystemExit(f"{server.name} computes something else: cosine {cosine:.5f}")


def measure(
    running: list[Served], limit: Limit, load: Load, given: argparse.Namespace
) -> dict[str, list[Figures]]:
    """Rounds in which each goes first in turn, so that a drift of the machine cancels."""
    ways = {LIMIT: lambda: _alone(limit, given.round)}
    for server in running:
        name = PLAIN if server.name == OURS else server.name
        ways[name] = lambda server=server: _served(server, load, given.round)  # type: ignore[misc]
        if server.name == OURS:
            ways[CLIENT] = lambda server=server: _served(server, load, given.round, own=True)  # type: ignore[misc]
    rounds: dict[str, list[Figures]] = {name: [] for name in ways}
    for number in range(-1, given.rounds):  # the first is not counted: first touches
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in names:
            figures = ways[name]()
            if number >= 0:
                rounds[name].append(figures)
    return rounds


def _alone(limit: Limit, images: int) -> Figures:
    rate, cpu = limit.round(images)
    return Figures(rate, cpu, 0.0, [])


def _served(server: Served, load: Load, images: int, *, own: bool = False) -> Figures:
    before = server.group.cpu()
    closed = (load.own_client if own else load.closed)(server.target, images)
    both = server.group.cpu() - before + closed.cpu
    return Figures(closed.rate, 1e3 * both / images, 1e3 * closed.cpu / images, closed.seconds)


def ratios(rounds: dict[str, list[Figures]], name: str, to: str) -> list[float]:
    """Round by round, sorted."""
    pairs = zip(rounds[name], rounds[to], strict=True)
    return sorted(mine.rate / other.rate for mine, other in pairs)


def table(rounds: dict[str, list[Figures]], running: list[Served]) -> list[report.Row]:
    """The fastest first; the limit and what is no peer have no rank."""
    memory = {server.name: server.group.memory() for server in running}
    order = sorted(rounds, key=lambda name: -median(ratios(rounds, name, LIMIT)))
    ranked = [name for name in order if name not in (LIMIT, BARE)]
    return [
        {
            "server": name,
            "rank": ranked.index(name) + 1 if name in ranked else None,
            "images/s": median(one.rate for one in rounds[name]),
            "of the limit": median(ratios(rounds, name, LIMIT)),
            "rounds from": ratios(rounds, name, LIMIT)[0],
            "to": ratios(rounds, name, LIMIT)[-1],
            "cpu ms an image": median(one.cpu for one in rounds[name]),
            "client's": median(one.client for one in rounds[name]),
            "p50 ms": _percentile(rounds[name], 50),
            "p99 ms": _percentile(rounds[name], 99),
            "memory MB": memory.get(name.partition(",")[0]),
        }
        for name in order
    ]


def _percentile(rounds: list[Figures], percent: float) -> float | None:
    seconds = [second for one in rounds for second in one.seconds]
    return 1e3 * float(np.percentile(seconds, percent)) if seconds else None


def verdict(found: report.Report, rounds: dict[str, list[Figures]]) -> None:
    others = [name for name in rounds if name not in (LIMIT, CLIENT, PLAIN, BARE)]
    if not others or PLAIN not in rounds:
        return
    best = max(others, key=lambda name: median(ratios(rounds, name, LIMIT)))
    for name in (CLIENT, PLAIN):
        ratio = median(ratios(rounds, name, best))
        found.say(f"{name} / best peer", ratio, f"{name} / {best}, the best peer: {ratio:.3f}")


if __name__ == "__main__":
    main()
