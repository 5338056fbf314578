"""The nodes of a head's graph, one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers.layers import Kernel, Linear, Model, Neighbours, Normalise, Standardise, TwoLayer
from classifiers.layers.neighbours import NO_VOTE, SHARPNESS

EMBEDDINGS, PROBABILITIES = "embeddings", "probabilities"
PREFIX = "head/"


class Nodes:
    """Collects nodes and constants; every method takes and gives names of values."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: NDArray[Any]) -> str:
        """A constant of the graph."""
        from onnx import numpy_helper

        name = f"{PREFIX}constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(
        self, operator: str, *inputs: str | float, outputs: int = 1, name: str = "", **attributes: Any
    ) -> Any:
        """A node; numbers among its inputs become constants."""
        from onnx import helper

        taken = [
            each if isinstance(each, str) else self.constant(np.array(each, np.float32)) for each in inputs
        ]
        made = [name or f"{PREFIX}value{len(self.nodes)}.{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, taken, made, **attributes))
        return made[0] if outputs == 1 else made

    def gemm(self, rows: str, weights: NDArray[Any], bias: NDArray[Any]) -> str:
        """The product rows @ weights.T + bias."""
        parts = [self.constant(np.asarray(part, np.float32)) for part in (weights, bias)]
        found: str = self.add("Gemm", rows, *parts, transB=1)
        return found

    def lengths(self, rows: str) -> str:
        """The squared length of each row, as a column; of operators that are the same from opset 13 on."""
        axis = self.constant(np.array([1], np.int64))
        found: str = self.add("ReduceSum", self.add("Mul", rows, rows), axis, keepdims=1)
        return found

    def unit(self, rows: str) -> str:
        """Rows of unit length; a row of zeros stays."""
        length = self.add("Sqrt", self.lengths(rows))
        safe = self.add("Where", self.add("Greater", length, 0.0), length, 1.0)
        found: str = self.add("Div", rows, safe)
        return found


def write_head(nodes: Nodes, model: Model) -> None:
    """From `EMBEDDINGS` to `PROBABILITIES`."""
    layer, rows = model.layer, EMBEDDINGS
    if isinstance(model.scaling, Standardise) and isinstance(layer, Linear | TwoLayer):
        layer = folded(layer, model.scaling)
    elif isinstance(model.scaling, Standardise):
        centred = nodes.add("Sub", rows, nodes.constant(model.scaling.mean[None]))
        rows = nodes.add("Div", centred, nodes.constant(model.scaling.scale[None]))
    elif isinstance(model.scaling, Normalise):
        rows = nodes.unit(rows)
    scores = _WRITERS[layer.name](nodes, layer, rows)
    if model.temperature != 1:
        scores = nodes.add("Div", scores, model.temperature)
    if model.multi_label:
        nodes.add("Sigmoid", scores, name=PROBABILITIES)
    else:
        nodes.add("Softmax", scores, name=PROBABILITIES, axis=1)


def folded(layer: Linear | TwoLayer, scaling: Standardise) -> Linear | TwoLayer:
    """The same of rows that are not scaled: (x - m) / s @ W.T is x @ (W / s).T - m / s @ W.T."""

    def fold(weights: NDArray[Any], bias: NDArray[Any]) -> list[NDArray[np.float32]]:
        narrowed = weights.astype(np.float64) / scaling.scale
        return [part.astype(np.float32) for part in (narrowed, bias - narrowed @ scaling.mean)]

    if isinstance(layer, Linear):
        weights, bias = fold(layer.weights, layer.bias)
        return Linear(weights, bias)
    hidden, hidden_bias = fold(layer.hidden, layer.hidden_bias)
    return TwoLayer(hidden, hidden_bias, layer.weights, layer.bias)


def _linear(nodes: Nodes, layer: Linear, rows: str) -> str:
    return nodes.gemm(rows, layer.weights, layer.bias)


def _two_layer(nodes: Nodes, layer: TwoLayer, rows: str) -> str:
    hidden = nodes.add("Relu", nodes.gemm(rows, layer.hidden, layer.hidden_bias))
    return nodes.gemm(hidden, layer.weights, layer.bias)


def _kernel(nodes: Nodes, layer: Kernel, rows: str) -> str:
    squares = np.einsum("ij,ij->i", layer.support, layer.support)
    apart = nodes.add("Add", nodes.gemm(rows, -2 * layer.support, squares), nodes.lengths(rows))
    close = nodes.add("Exp", nodes.add("Mul", nodes.add("Relu", apart), -layer.gamma))
    return nodes.gemm(close, layer.coefficients, layer.bias)


def _neighbours(nodes: Nodes, layer: Neighbours, rows: str) -> str:
    """The votes of the k nearest, a one-hot row each, weighed and summed."""
    cosines = nodes.gemm(nodes.unit(rows), layer.rows, np.zeros(len(layer.rows)))
    count = nodes.constant(np.array([layer.k], np.int64))
    nearest, places = nodes.add("TopK", cosines, count, outputs=2, axis=1)
    weights = nodes.add("Exp", nodes.add("Mul", nodes.add("Sub", nearest, 1.0), SHARPNESS))
    votes = nodes.constant(np.eye(layer.classes, dtype=np.float32)[layer.labels])
    each = nodes.add("Gather", votes, places, axis=0)
    last, middle = (nodes.constant(np.array([axis], np.int64)) for axis in (2, 1))
    weighed = nodes.add("Mul", each, nodes.add("Unsqueeze", weights, last))
    summed = nodes.add("ReduceSum", weighed, middle, keepdims=0)
    most = nodes.add("Gather", weights, nodes.constant(np.array([0], np.int64)), axis=1)  # TopK sorts
    found: str = nodes.add("Log", nodes.add("Add", summed, nodes.add("Mul", most, NO_VOTE)))
    return found


_WRITERS: dict[str, Any] = {
    Linear.name: _linear,
    TwoLayer.name: _two_layer,
    Kernel.name: _kernel,
    Neighbours.name: _neighbours,
}
