"""What one bundle's network is worth on one provider, in every precision that it has."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor import images
from extractor.backbones import cuda, providers, tuning
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import Numerics, wanted
from extractor.backbones.schedule import Schedule
from extractor.backbones.session import Session, open_graph
from extractor.errors import PenultimateError
from extractor.settings import DataFolder

Figures = dict[str, Any]

LATENCY_BOUND = 10.0
"""Seconds: no batch size is left out for being late."""

EFFORT = {"passes": 2, "seconds": 0.5, "budget": 90.0}


def measured(bundle: Bundle, data: DataFolder, provider: str, largest: int = 64, runs: int = 300) -> Figures:
    """All figures of a bundle, by precision.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
    provider : str
    largest : int
        Largest batch.
    runs : int
        How many batches of changing sizes memory is watched over.
    """
    found = {}
    for numerics in wanted(provider, "auto", bundle, data):
        print(f"{bundle.manifest.backbone}, {numerics}", flush=True)
        try:
            found[numerics.precision] = _measured(bundle, data, numerics, largest, runs)
        except PenultimateError as error:
            found[numerics.precision] = {"error": str(error)}
    return found


def _measured(bundle: Bundle, data: DataFolder, numerics: Numerics, largest: int, runs: int) -> Figures:
    schedule = Schedule(largest, 2)
    begun = time.perf_counter()
    session = Session(bundle, numerics, schedule, data)
    cosines = session.golden_cosines(bundle)
    ready = time.perf_counter() - begun
    pixels = [images.decode(item.image, bundle.manifest.preprocessing) for item in bundle.golden()]
    return {
        "active": active(bundle, data, numerics, schedule.sizes),
        "seconds_to_ready": ready,
        "pinned": cuda.can_pin(),
        "golden": {"smallest": min(cosines), "median": median(cosines), "bound": session.bound},
        "memory": memory(session, pixels, runs),
        "table": table(bundle, data, numerics, pixels, largest),
    }


def active(bundle: Bundle, data: DataFolder, numerics: Numerics, sizes: tuple[int, ...]) -> Figures:
    """What ONNX Runtime says of who computes: its providers, and the nodes that each has."""
    graph = providers.graph(bundle, numerics, data)
    runtime = open_graph(bundle, graph, numerics, sizes, data)
    nodes: Counter[str] = Counter()
    if providers.tells_nodes(numerics):
        for part in runtime.get_provider_graph_assignment_info():
            nodes[part.ep_name] += len(part.get_nodes())
    return {"providers": runtime.get_providers(), "nodes": dict(nodes)}


def memory(session: Session, pixels: Sequence[NDArray[np.uint8]], runs: int) -> Figures:
    """Bytes in use before and after many batches of changing sizes; all sizes were run before."""
    in_use = tuning.effort(session.numerics).memory
    draw = random.Random(0)
    before = in_use()
    for _ in range(runs):
        session.run([draw.choice(pixels) for _ in range(draw.randint(1, session.max_batch))])
    after = in_use()
    return {"runs": runs, "before": before, "after": after, "growth": after / before if before else None}


def table(
    bundle: Bundle, data: DataFolder, numerics: Numerics, pixels: Sequence[NDArray[np.uint8]], largest: int
) -> list[Figures]:
    """Images/s and milliseconds over batch sizes and parallel runs."""
    usual = tuning.effort(numerics)
    sizes = tuple(size for size in usual.sizes if size <= largest)
    effort = tuning.Effort(sizes=sizes, memory=usual.memory, **EFFORT)  # type: ignore[arg-type]

    def open_run(size: int) -> tuning.Run:
        return Session(bundle, numerics, Schedule(size, 1), data).run

    rows = tuning.measure(open_run, pixels, tuning.parallels(numerics.provider), LATENCY_BOUND, effort)
    for row in rows:
        print(f"  {row}", flush=True)
    return [asdict(row) for row in rows]
