"""The server's memory from its first thousand images to its hundred thousandth; part of `benchmarks.service`.

So many images take minutes, not hours, because nine in ten of them are
remembered: they pass the same door, are received, hashed and answered, but not
computed. One in ten is new (a photo with other bytes behind its end, which no
decoder reads). What counts is the memory of the process itself; what it maps of
the cache's file grows with the cache, and the system takes it back at will.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from benchmarks import report
from benchmarks.callers import Target
from benchmarks.load import Load
from benchmarks.remembered import remembering, upload

FIRST = 1000
MUST_REACH = 1.05
STEPS = 10
NEW = 10
"""One image in so many is new, after the first."""


def measure(found: report.Report, load: Load, given: argparse.Namespace) -> None:
    rows: list[report.Row] = []
    with remembering(given) as server:
        first = min(FIRST, given.images // 2)
        done, computed = 0, 0
        while done < given.images:
            count = first if not done else max(1, (given.images - first) // STEPS)
            cached = load.run(_feed, server.target, done, count, 1 if not done else NEW)
            done, computed = done + count, computed + count - cached
            own, whole = server.group.anonymous(), server.group.memory()
            rows.append({"images": done, "computed": computed, "own MB": own, "with the cache's file": whole})
    found.table("memory", rows)
    growth = rows[-1]["own MB"] / rows[0]["own MB"]
    found.say("memory, last / first", growth, f"own memory, last / first: {growth:.3f}; at most {MUST_REACH}")


# What follows runs in the load's process.
def _feed(photos: Sequence[bytes], target: Target, begin: int, count: int, new: int) -> int:
    """How many of the next `count` images were remembered."""
    return upload(target, _images(photos, begin, count, new))


def _images(photos: Sequence[bytes], begin: int, count: int, new: int) -> Iterator[bytes]:
    for number in range(begin, begin + count):
        photo = photos[number % len(photos)]
        fresh = number % new == 0
        mark = number if fresh else number % len(photos)  # the latter: among the first, thus remembered
        yield photo + b"penultimate" + mark.to_bytes(8)
