"""What the service costs on top of the work itself.

    python -m benchmarks.service --data DIR [--provider cpu] [--images 100000]

Starts the real server as a process and a client in another. The limit is
measured in the same run, in turns with the service: threads that each decode an
image and run the network, as many as are fastest. Prints

- the service's images/s through `Client.stream` and their ratio to the limit
  (median over rounds), and the same ratio in processor time, which other load
  on the machine blurs less;
- the median time of a call with one image, over the same work in process, in
  turns; and the same for a server that does nothing but this work
  (`benchmarks.bare_server`);
- images/s when the server remembers them: sent in `Embed`, through
  `Client.stream`, which asks before it sends, and by digests alone
  (`Client.lookup`), over images/s computed (`benchmarks.remembered`);
- the server's memory after the first thousand images and after `--images`, most
  of which are remembered (`benchmarks.memory`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import grpc

from benchmarks import memory, remembered, report
from benchmarks.callers import Target
from benchmarks.limit import Limit, Round
from benchmarks.load import Load
from benchmarks.servers import OURS, Served, bare, ours

MUST_REACH = {"cpu": 0.93, "openvino": 0.88}


def main() -> None:
    given = _options()
    photos = report.photos(given)
    found = report.Report(given, peers=False)
    with Load(photos) as load:
        limit = Limit(given.data, given.provider, given.precision, photos)
        with ours(given.data, given.provider, given.precision) as server:
            limit.choose(given.round // 4)
            found.say("limit", limit.threads, f"{server.numerics}; the limit has {limit.threads} threads")
            throughput(found, limit, server, load, given)
            with bare(given.data, server.numerics) as least:
                single_calls(found, limit, (server, least), load, photos[: given.calls])
        del limit
        remembered.measure(found, load, given)
        memory.measure(found, load, given)
    found.save()


def _options() -> argparse.Namespace:
    parser = report.options(__doc__)
    parser.set_defaults(servers=[OURS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--round", type=int, default=2000, help="images a round: a stream begins and ends once"
    )
    parser.add_argument("--calls", type=int, default=200, help="calls of one image")
    parser.add_argument("--images", type=int, default=100_000, help="images after which memory is read last")
    return report.parse(parser)


def throughput(
    found: report.Report, limit: Limit, server: Served, load: Load, given: argparse.Namespace
) -> None:
    limit.round(given.round), _streamed(server, load, given.round)  # not counted: first touches
    bounds, served = [], []
    for number in range(given.rounds):
        if number % 2:  # each goes first in turn, so that a drift of the machine cancels
            bounds.append(limit.round(given.round))
        served.append(_streamed(server, load, given.round))
        if not number % 2:
            bounds.append(limit.round(given.round))
    found.table("throughput", [_row("limit", bounds), _row("service and client", served)])
    must = MUST_REACH.get(server.numerics.split("/")[0])
    ratio("service / limit", [b.rate / a.rate for a, b in zip(bounds, served, strict=True)], found, must)
    ratio("the same in cpu time", [a.cpu / b.cpu for a, b in zip(bounds, served, strict=True)], found)


def _streamed(server: Served, load: Load, images: int) -> Round:
    before = server.group.cpu()
    closed = load.own_client(server.target, images)
    return Round(closed.rate, 1e3 * (server.group.cpu() - before + closed.cpu) / images)


def _row(name: str, rounds: list[Round]) -> report.Row:
    return {
        "what": name,
        "images/s": median(one.rate for one in rounds),
        "cpu ms an image": median(one.cpu for one in rounds),
    }


def ratio(name: str, ratios: list[float], found: report.Report, must: float | None = None) -> None:
    """Say the median, and from where to where the rounds went."""
    text = f"{name}: {median(ratios):.3f}, rounds {min(ratios):.3f} to {max(ratios):.3f}"
    found.say(name, median(ratios), text + (f"; must reach {must}" if must else ""))


def single_calls(
    found: report.Report, limit: Limit, servers: tuple[Served, Served], load: Load, photos: list[bytes]
) -> None:
    server, least = servers
    calls: list[float] = []
    bare_calls: list[float] = []
    alone: list[float] = []
    for begin in range(0, len(photos), 10):
        some = photos[begin : begin + 10]
        calls += load.run(_single_calls, server.target, begin, begin + len(some))
        bare_calls += load.run(_bare_calls, least.target, begin, begin + len(some))
        alone += [_timed(limit.work, photo) for photo in some]
    direct = 1e3 * median(alone)
    found.say("in process, ms", direct, f"one image in process: p50 {direct:.2f} ms")
    _over_in_process(found, "single call", calls, direct, "; at most 1.0")
    _over_in_process(found, "bare call", bare_calls, direct, ": a server that does nothing else")


def _over_in_process(found: report.Report, name: str, calls: list[float], direct: float, more: str) -> None:
    call = 1e3 * median(calls)
    text = f"{name}: p50 {call:.2f} ms, {call - direct:.2f} ms over in process{more}"
    found.say(f"{name} over in process, ms", call - direct, text)


def _single_calls(photos: Sequence[bytes], target: Target, begin: int, end: int) -> list[float]:
    from extractor.client import Client

    with Client(target.address) as client:
        client.embed(photos[begin : begin + 1])  # the connection
        return [_timed(client.embed, [photo]) for photo in photos[begin:end]]


def _bare_calls(photos: Sequence[bytes], target: Target, begin: int, end: int) -> list[float]:
    with grpc.insecure_channel(target.address) as channel:
        embed: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(target.path)
        embed(photos[begin])  # the connection
        return [_timed(embed, photo) for photo in photos[begin:end]]


def _timed(work: Callable[[Any], Any], what: Any) -> float:
    begun = time.perf_counter()
    work(what)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
