"""Whether a graph answers as its head does: asked of both before a file appears."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from classifiers.graphs.answers import DISTANCE, LABEL, LABELS, NO_CLASS
from classifiers.graphs.nodes import PROBABILITIES
from classifiers.heads import Head
from extractor.results import Vector

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle

AGREEMENT = 1e-4
"""How far a probability of the graph may be from the head's own: both round in float32."""

NEARNESS = 1e-3
"""The same of a distance, in parts of the threshold: of rows that hardly vary more is lost by rounding."""

_RANDOM_ROWS = 64


def prove_head(head: Head, file: Path) -> tuple[int, float]:
    """On rows that it was fitted on, and on random ones of their size.

    Returns
    -------
    int
        Rows that both answered.
    float
        The largest difference of a probability; infinite where a distance is
        another, or an answer that is not as good as on its threshold.
    """
    kept = head.statistics.rows if head.statistics else np.zeros((0, head.manifest.dim), np.float32)
    random = np.random.default_rng(0).normal(size=(_RANDOM_ROWS, head.manifest.dim))
    rows = np.concatenate([kept, random * (kept.std() if len(kept) else 1)]).astype(np.float32)
    return len(rows), apart(head, rows, _answers(file, rows))


def prove_whole(head: Head, file: Path, bundle: Bundle) -> tuple[int, float]:
    """On the backbone's golden pictures, against the head on what the backbone alone gives for them."""
    from extractor.images import decode

    spec = bundle.manifest.preprocessing
    pixels = np.stack([decode(golden.image, spec) for golden in bundle.golden()])
    (embeddings,) = list(_answers(bundle.model, pixels).values())[:1]
    return len(pixels), apart(head, embeddings, _answers(file, pixels))


def apart(head: Head, rows: Vector, found: dict[str, NDArray[Any]]) -> float:
    """How far outputs of a graph are from what the head says of embeddings of shape (n, dim)."""
    said = head.predict_proba(rows)
    unknown, unsure = np.zeros((2, len(rows)), bool)
    if head.rejection is not None:
        limit, distances = head.rejection.threshold, head.rejection.distances(rows)
        unknown, unsure = distances > limit, np.abs(distances - limit) <= NEARNESS * limit
        if (np.abs(found[DISTANCE] - distances) > NEARNESS * np.maximum(distances, limit)).any():
            return float("inf")
    same, sure = _answered(head, said, unknown, found)
    alike = same | ~sure | (unsure[:, None] if same.ndim == 2 else unsure)
    return float(np.abs(found[PROBABILITIES] - said).max()) if alike.all() else float("inf")


def _answered(
    head: Head, said: NDArray[np.float64], unknown: NDArray[np.bool_], found: dict[str, NDArray[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which answers are the head's, and which are further from their threshold than figures may differ."""
    if head.model.multi_label:
        over = said - np.asarray(head.manifest.thresholds or 0.5)
        return found[LABELS] == ((over >= 0) & ~unknown[:, None]), np.abs(over) > AGREEMENT
    first = np.sort(said, axis=1)[:, -2:]
    same = found[LABEL] == np.where(unknown, NO_CLASS, said.argmax(axis=1))
    return same, first[:, 1] - first[:, 0] > 2 * AGREEMENT


def _answers(file: Path, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Every output of a graph, by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))
