"""The decode stage beside other libraries: JPEG to the network's pixels, processor time on one core.

python -m benchmarks.decode --data DIR [--rounds 15]

All ways run in the peers' environment, in turns. The same pixels: what differs
from resizing the whole picture with Pillow by rounding only, as the tests of
`extractor.images` have it (no value by more than 2, less than 2 % of them).
torchvision.io is left out: beside a PyTorch for CPUs its wheel cannot decode.
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

from benchmarks import report
from benchmarks.servers import PEERS_PYTHON, ROOT
from extractor.settings import DEFAULT_BACKBONE

MUST_REACH = 1.0
OUR_PARTS = "Pillow, cykooz-resizer"
"""What ours is made of, and nothing else of it."""


def main() -> None:
    parser = report.options(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=100)
    given = report.parse(parser)
    found = report.Report(given)
    ways = measure(given)
    same = {name for name, way in ways.items() if way["most"] <= 2 and way["share"] < 0.02}
    found.table("decode, check, resize, crop", [row(name, way, name in same) for name, way in ways.items()])
    fastest = min(same - {"ours", OUR_PARTS}, key=lambda name: median(ways[name]["seconds"]))
    for key, what, other in (
        ("ratio", f"the fastest other with the same pixels; must reach {MUST_REACH}", fastest),
        ("parts", "its own parts, bare: what checks and exactness cost", OUR_PARTS),
    ):
        ratios = sorted(b / a for a, b in zip(ways["ours"]["seconds"], ways[other]["seconds"], strict=True))
        rounds = f"rounds {ratios[0]:.3f} to {ratios[-1]:.3f}"
        found.say(key, median(ratios), f"{other} / ours: {median(ratios):.3f}, {rounds} ({what})")
    found.save()


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """What `benchmarks.peers.decoders` says of each way."""
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(report.photos(given)[: given.images]):
            Path(folder, f"{number:04}.jpg").write_bytes(photo)
        bundle = (given.data.backbones / DEFAULT_BACKBONE).resolve()
        done = subprocess.run(
            [PEERS_PYTHON, "-m", "benchmarks.peers.decoders", folder, str(given.rounds)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PEER_BUNDLE": str(bundle)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return dict(json.loads(done.stdout))


def row(name: str, way: dict[str, Any], same: bool) -> report.Row:
    return {
        "way": name,
        "ms an image": 1e3 * median(way["seconds"]),
        "rounds from": 1e3 * min(way["seconds"]),
        "to": 1e3 * max(way["seconds"]),
        "largest difference": way["most"],
        "values that differ": f"{way['share']:.3%}",
        "smallest cosine": f"{way['cosine']:.6f}",
        "same pixels": "yes" if same else "no",
    }


if __name__ == "__main__":
    main()
