"""What must hold of the figures, and what of it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extractor.backbones.providers import ONNX_NAMES

MEMORY_MUST_STAY_UNDER = 1.05
SERVICE_MUST_REACH = 0.9


def failures(found: dict[str, Any], provider: str) -> Iterator[str]:
    """A sentence for each check that does not hold."""
    for name, precisions in found["bundles"].items():
        for precision, figures in precisions.items():
            for trouble in _of_one(figures, provider):
                yield f"{name}, {provider}/{precision}: {trouble}"
    ratio = found["service"]["ratio"]
    if ratio < SERVICE_MUST_REACH:
        yield f"service / session: {ratio:.3f}; must reach {SERVICE_MUST_REACH}"


def _of_one(figures: dict[str, Any], provider: str) -> Iterator[str]:
    if "error" in figures:
        yield figures["error"]
        return
    if figures["active"]["providers"][0] != ONNX_NAMES[provider]:
        yield f"it is computed by {figures['active']['providers'][0]}"
    golden = figures["golden"]
    if not golden["smallest"] >= golden["bound"]:
        yield f"the smallest golden cosine is {golden['smallest']:.5f}, under {golden['bound']}"
    growth = figures["memory"]["growth"]
    if growth is None or growth > MEMORY_MUST_STAY_UNDER:
        yield f"memory grows by {growth} over changing batch sizes; at most {MEMORY_MUST_STAY_UNDER}"
    if not figures["table"]:
        yield "no batch size can be run"
