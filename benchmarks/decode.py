"""The decode stage beside other libraries: JPEG to the network's pixels, processor time on one core.

python -m benchmarks.decode --data DIR [--rounds 15]

All ways run in the peers' environment, in turns. The same pixels: what differs
from resizing the whole picture with Pillow by rounding only, as the tests of
`extractor.images` have it (no value by more than 2, less than 2 % of them).
torchvision.io is left out: beside a PyTorch for CPUs its wheel cannot decode.

The fast profile makes a difference to large photos only, and to their pixels
too: it is compared on photos of 12 million pixels, in a table of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.servers import PEERS_PYTHON, ROOT
from extractor.backbones.nearness import enlarged
from extractor.settings import DEFAULT_BACKBONE

MUST_REACH = 1.0
OURS, FAST = "ours", "ours, fast profile"
OUR_PARTS = "Pillow, cykooz-resizer"
"""What ours is made of, and nothing else of it."""
LARGE = 3024
"""The shorter side of a photo of 12 million pixels."""


def main() -> None:
    parser = report.options(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--large", type=int, default=8, help="how many photos of 12 million pixels")
    given = report.parse(parser)
    found = report.Report(given)
    photos = report.photos(given)[: given.images]
    compare(found, measure(given, photos, given.rounds))
    grain = np.random.default_rng(0)
    large = [enlarged(photo, LARGE, grain) for photo in photos[: given.large]]
    compare_fast(found, measure(given, large, max(3, given.rounds // 3), OURS, FAST, OUR_PARTS))
    found.save()


def compare(found: report.Report, ways: dict[str, Any]) -> None:
    """Ours beside all others."""
    found.table("decode, check, resize, crop", [row(name, way) for name, way in ways.items()])
    same = {name for name, way in ways.items() if has_same_pixels(way)}
    fastest = min(same - {OURS, FAST, OUR_PARTS}, key=lambda name: median(ways[name]["seconds"]))
    for key, what, other in (
        ("ratio", f"the fastest other with the same pixels; must reach {MUST_REACH}", fastest),
        ("parts", "its own parts, bare: what checks and exactness cost", OUR_PARTS),
    ):
        say_ratio(found, key, ways, OURS, other, what)


def compare_fast(found: report.Report, ways: dict[str, Any]) -> None:
    """The fast profile beside the exact one."""
    rows = [row(name, way) for name, way in ways.items()]
    found.table("the same, photos of 12 million pixels", rows)
    say_ratio(found, "fast", ways, FAST, OURS, "other pixels: see the smallest cosine above")


def say_ratio(found: report.Report, key: str, ways: dict[str, Any], one: str, other: str, what: str) -> None:
    """How many times the processor time of `one` the `other` takes."""
    ratios = sorted(b / a for a, b in zip(ways[one]["seconds"], ways[other]["seconds"], strict=True))
    rounds = f"rounds {ratios[0]:.3f} to {ratios[-1]:.3f}"
    found.say(key, median(ratios), f"{other} / {one}: {median(ratios):.3f}, {rounds} ({what})")


def measure(given: argparse.Namespace, photos: list[bytes], rounds: int, *names: str) -> dict[str, Any]:
    """What `benchmarks.peers.decoders` says of each way, or of those that are named."""
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(photos):
            Path(folder, f"{number:04}.jpg").write_bytes(photo)
        bundle = (given.data.backbones / DEFAULT_BACKBONE).resolve()
        done = subprocess.run(
            [PEERS_PYTHON, "-m", "benchmarks.peers.decoders", folder, str(rounds), *names],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PEER_BUNDLE": str(bundle)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return dict(json.loads(done.stdout))


def has_same_pixels(way: dict[str, Any]) -> bool:
    return bool(way["most"] <= 2 and way["share"] < 0.02)


def row(name: str, way: dict[str, Any]) -> report.Row:
    return {
        "way": name,
        "ms an image": 1e3 * median(way["seconds"]),
        "rounds from": 1e3 * min(way["seconds"]),
        "to": 1e3 * max(way["seconds"]),
        "largest difference": way["most"],
        "values that differ": f"{way['share']:.3%}",
        "smallest cosine": f"{way['cosine']:.6f}",
        "same pixels": "yes" if has_same_pixels(way) else "no",
    }


if __name__ == "__main__":
    main()
