"""A user's graph behind what a bundle promises: uint8 [n, height, width, 3] in, float32 [n, dim] out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from extractor.backbones.imported.graphs import batch_of, input_of, opset_of, output_of
from extractor.backbones.imported.spec import Spec
from extractor.backbones.onnx_file import BATCH, nodes_of, nodes_within
from extractor.results import Vector

_PREFIX = "network."
"""Before every name of the user's graph, so that ours are free."""

_AXES_ARE_INPUT = 18
"""The opset since which ReduceMean is given its axes as a tensor."""

_OLDEST_FORMAT = 4
"""The first version of ONNX's format in which weights need not be inputs."""


def wrapped(model: Any, spec: Spec, rank: int, dim: int) -> Iterator[Any]:
    """Graphs that may do, the plainest first; which does, only a run can tell.

    Parameters
    ----------
    model : onnx.ModelProto
        As the user's file has it.
    spec : Spec
    rank : int
        Number of axes of the output, before any pooling.
    dim : int
        Width of the embedding.
    """
    yield _wrapped(model, spec, rank, dim)
    # many exporters write the batch that they saw into the shapes of Reshape
    opened = type(model)()
    opened.CopyFrom(model)
    _open_reshapes(opened, batch_of(input_of(model, spec)))
    yield _wrapped(opened, spec, rank, dim)


def _wrapped(model: Any, spec: Spec, rank: int, dim: int) -> Any:
    import onnx.compose
    from onnx import TensorProto, helper

    entry, leaving = input_of(model, spec).name, output_of(model, spec)
    model = onnx.compose.add_prefix(model, _PREFIX)
    graph = model.graph
    _add_front(graph, spec, _PREFIX + entry)
    _add_back(graph, spec, _PREFIX + leaving, rank, opset_of(model))
    size = (spec.preprocessing.height, spec.preprocessing.width)
    for values in (graph.input, graph.output, graph.value_info):
        del values[:]
    graph.input.append(helper.make_tensor_value_info("images", TensorProto.UINT8, [BATCH, *size, 3]))
    graph.output.append(helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [BATCH, dim]))
    _keep_needed(graph)
    model.ir_version = max(model.ir_version, _OLDEST_FORMAT)
    return model


def _add_front(graph: Any, spec: Spec, entry: str) -> None:
    """From pictures to the network's own input, as the first nodes."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []

    def add(operator: str, *constants: str, **attributes: Any) -> None:
        before = nodes[-1].output[0] if nodes else "images"
        name = f"prepare_{len(nodes)}"
        nodes.append(helper.make_node(operator, [before, *constants], [name], name=name, **attributes))

    if spec.channels == "bgr":
        add("Gather", _constant(graph, "bgr", np.array([2, 1, 0])), axis=3)
    if spec.layout == "nchw":
        add("Transpose", perm=[0, 3, 1, 2])
    if spec.dtype == "float32":
        mean, scale = _normalisation(spec)
        add("Cast", to=TensorProto.FLOAT)
        add("Sub", _constant(graph, "mean", mean))
        add("Mul", _constant(graph, "scale", scale))
    add("Identity")
    nodes[-1].output[0] = entry
    _prepend(graph.node, nodes)


def _normalisation(spec: Spec) -> tuple[Vector, Vector]:
    """What is taken from pixels of 0 to 255, and what they are multiplied by, in the network's order."""
    rule, shape = spec.preprocessing, (3, 1, 1) if spec.layout == "nchw" else (3,)
    mean, std = (255 * np.array(values).reshape(shape) for values in (rule.mean, rule.std))
    if spec.channels == "bgr":
        mean, std = mean[::-1], std[::-1]
    return mean.astype(np.float32), (1 / std).astype(np.float32)


def _add_back(graph: Any, spec: Spec, leaving: str, rank: int, opset: int) -> None:
    """From the named tensor to one vector for each picture, as the last node."""
    from onnx import helper

    if spec.pooling == "avg":
        places = [axis for axis in range(1, rank) if axis != _channels(spec, rank)]
        inputs: list[str] = [leaving]
        attributes: dict[str, Any] = {"axes": places, "keepdims": 0}
        if opset >= _AXES_ARE_INPUT:
            inputs.append(_constant(graph, "places", np.array(attributes.pop("axes"))))
        node = helper.make_node("ReduceMean", inputs, ["embeddings"], name="pool", **attributes)
    elif spec.pooling == "cls":
        first = _constant(graph, "first", np.array(0))
        node = helper.make_node("Gather", [leaving, first], ["embeddings"], name="pool", axis=1)
    else:
        node = helper.make_node("Identity", [leaving], ["embeddings"], name="leave")
    graph.node.append(node)


def _channels(spec: Spec, rank: int) -> int:
    """The axis that stays when the places of a map, or of a row of tokens, are averaged."""
    return 1 if rank == 4 and spec.layout == "nchw" else rank - 1


def _constant(graph: Any, name: str, value: Any) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _prepend(nodes: Any, first: list[Any]) -> None:
    rest = list(nodes)
    del nodes[:]
    nodes.extend([*first, *rest])


def _keep_needed(graph: Any) -> None:
    """Remove the nodes on which the output does not depend, and Dropout, which does nothing at inference."""
    needed = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
            continue
        if node.op_type == "Dropout" and len(node.input) < 3:
            node.CopyFrom(_identity(node))
        needed.update(node.input)
        for inner in nodes_within(node):
            needed.update(inner.input)


def _identity(node: Any) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)


def _open_reshapes(model: Any, batch: int) -> None:
    """Let every Reshape to a fixed batch take the batch of its input, which ONNX writes as 0."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in nodes_of(model.graph):
        if node.op_type == "Reshape" and (shape := constants.get(node.input[1])) is not None:
            value = numpy_helper.to_array(shape).copy()
            if value.size > 1 and value[0] == batch:
                value[0] = 0
                name = f"{node.output[0]}_shape"
                node.input[1] = _constant(model.graph, name, value)
                del node.attribute[:]  # its only one says that 0 is a length
