"""The service beside this process's own session, both decoding on all cores, in turns."""

from __future__ import annotations

from contextlib import ExitStack, closing
from statistics import median
from typing import Any

from benchmarks.load import Load
from benchmarks.servers import ours
from benchmarks.session import Layer, in_turns, ratios
from extractor import images
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import wanted
from extractor.settings import DEFAULT_BACKBONE, DataFolder

DISTINCT = 512
ROUNDS = 5


def served(data: DataFolder, provider: str, count: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Images/s of both and their ratio, of the default backbone, `count` images a round."""
    bundle = Bundle.of(data, DEFAULT_BACKBONE)
    numerics = next(wanted(provider, "auto", bundle, data))
    photos = distinct(bundle)
    spec = bundle.manifest.preprocessing
    with ExitStack() as stack:
        load = stack.enter_context(Load(photos))
        layer = stack.enter_context(
            closing(Layer(bundle, data, numerics, lambda photo: images.decode(photo, spec)))
        )
        server = stack.enter_context(ours(data, *numerics))
        ways = {
            "session": lambda: layer.rate(photos, count),
            "service": lambda: load.own_client(server.target, count).rate,
        }
        rates = in_turns(ways, rounds)
        each = ratios(rates["service"], rates["session"])
        return {
            "numerics": server.numerics,
            "schedule": str(layer.schedule),
            **{f"{name}_images_per_second": median(found) for name, found in rates.items()},
            "ratio": median(each),
            "rounds": each,
        }


def distinct(bundle: Bundle) -> list[bytes]:
    """The golden pictures as many files: what is sent twice at the same time is computed once."""
    golden = [item.image for item in bundle.golden()]
    return [golden[number % len(golden)] + number.to_bytes(4) for number in range(DISTINCT)]
