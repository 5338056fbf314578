"""The nodes of what follows from a head's probabilities, and of how far an embedding is from its classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifiers.distribution.gaussian import Gaussian
from classifiers.graphs.nodes import EMBEDDINGS, PROBABILITIES, Nodes
from classifiers.heads import Head

LABEL, LABELS, DISTANCE = "label", "labels", "distance"

NO_CLASS = -1
"""The label of an image that is none of the classes."""


def write_answers(nodes: Nodes, head: Head) -> list[str]:
    """From `PROBABILITIES` and `EMBEDDINGS` to what `Head.judge` says; returns the outputs' names."""
    beside, unknown = [], None
    if head.rejection is not None:
        distance = write_distance(nodes, head.rejection.gaussian)
        unknown = nodes.add("Greater", distance, head.rejection.threshold)
        beside = [distance]
    if head.model.multi_label:
        thresholds = head.manifest.thresholds or [0.5] * len(head.manifest.classes)
        return [_several(nodes, thresholds, unknown), *beside]
    return [_one(nodes, unknown), *beside]


def write_distance(nodes: Nodes, gaussian: Gaussian) -> str:
    """From `EMBEDDINGS` to `DISTANCE`, as `Gaussian.distances` has it.

    What is squared of a row is the same for all centres; what is left of each
    is linear in the row, so that the centres are one Gemm.
    """
    rows = nodes.add("Sub", EMBEDDINGS, nodes.constant(gaussian.origin[None]))
    weights, bias = _centres(gaussian)
    nearest, _ = nodes.add(
        "TopK",
        nodes.gemm(rows, weights, bias),
        nodes.constant(np.array([1], np.int64)),
        outputs=2,
        axis=1,
        largest=0,
    )
    basis = nodes.gemm(rows, gaussian.basis, np.zeros(len(gaussian.basis)))
    own = nodes.add("Sub", nodes.add("Div", nodes.lengths(rows), gaussian.noise), nodes.lengths(basis))
    apart = nodes.add("Relu", nodes.add("Add", own, nearest))
    mean = nodes.add("Div", apart, float(len(gaussian.origin)))
    column = nodes.constant(np.array([1], np.int64))
    found: str = nodes.add("Squeeze", mean, column, name=DISTANCE)
    return found


def _centres(gaussian: Gaussian) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of |row - centre|^2 / noise - |basis (row - centre)|^2, what is linear in the row, and the rest."""
    centres, basis = gaussian.centres.astype(np.float64), gaussian.basis.astype(np.float64)
    turned = centres / gaussian.noise - (centres @ basis.T) @ basis
    return -2 * turned, np.einsum("ij,ij->i", centres, turned)


def _one(nodes: Nodes, unknown: str | None) -> str:
    """The place of the most probable class, or `NO_CLASS`."""
    best = nodes.add("ArgMax", PROBABILITIES, name="" if unknown else LABEL, axis=1, keepdims=0)
    if unknown:
        none = nodes.constant(np.array(NO_CLASS, np.int64))
        nodes.add("Where", unknown, none, best, name=LABEL)
    return LABEL


def _several(nodes: Nodes, thresholds: list[float], unknown: str | None) -> str:
    """Which labels are probable enough; none of an image that is unknown."""
    least = nodes.constant(np.array([thresholds], np.float32))
    over = nodes.add("GreaterOrEqual", PROBABILITIES, least, name="" if unknown else LABELS)
    if unknown:
        axis = nodes.constant(np.array([1], np.int64))
        nodes.add("And", over, nodes.add("Unsqueeze", nodes.add("Not", unknown), axis), name=LABELS)
    return LABELS
