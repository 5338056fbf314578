"""The bundle's graph as a GPU's providers want it: in half precision, or casting before anything else.

Needs the package `onnx`, which the extra `gpu` brings; a CPU takes the graph as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from extractor.backbones.bundle import MODEL, MODEL_DATA, Bundle
from extractor.errors import Unavailable

Model = Any
"""An onnx.ModelProto, Node a NodeProto; the package has no types of its own."""
Node = Any

_FP32_ONLY = {"NonMaxSuppression", "Range", "Resize", "RoiAlign", "Upsample"}
"""Operators with inputs that may only be float32 by ONNX's own definition, or of which too many are lost."""

_LARGEST = float(np.finfo(np.float16).max)

_MOST_BYTES = 2**31 - 1
"""Of a protobuf message, which a graph with its weights inside is."""


def check_size(bundle: Bundle) -> None:
    """Whether the graph can be changed at all.

    Raises
    ------
    Unavailable
        When it is over 2 GB with its weights.
    """
    parts = [bundle.path / name for name in (MODEL, MODEL_DATA) if name in bundle.manifest.files]
    size = sum(part.stat().st_size for part in parts if part.exists())  # reading says what is missing
    if size > _MOST_BYTES:
        raise Unavailable(
            f"the network of {bundle.manifest.backbone} has {size / 1e9:.1f} GB, and a graph over 2 GB "
            "cannot be rewritten: take it as it is, with --precision fp32 and any --provider but tensorrt"
        )


def half(graph: bytes, folder: Path | None = None) -> bytes:
    """The same network with float16 weights and activations; its input and its float32 output stay.

    Parameters
    ----------
    graph : bytes
        An ONNX model in float32.
    folder : Path, optional
        Where its weights are, when they lie beside it.

    Raises
    ------
    Unavailable
        When `onnx` is not installed, or the graph has parts of its own inside
        of nodes (branches, loops), which are not converted.
    """
    return _rewritten(graph, folder, _halve)


def cast_first(graph: bytes, folder: Path | None = None) -> bytes:
    """The same network with the cast of its input before the transposition: TensorRT moves no uint8."""
    return _rewritten(graph, folder, _swap_cast)


def input_name(graph: bytes) -> str:
    """What the network calls its pictures."""
    return str(_read(graph).graph.input[0].name)


def _rewritten(graph: bytes, folder: Path | None, rewrite: Callable[[Model], None]) -> bytes:
    model = _read(graph)
    if folder:
        from onnx import load_external_data_for_model

        load_external_data_for_model(model, str(folder))
    rewrite(model)
    return bytes(model.SerializeToString())


def _read(graph: bytes) -> Model:
    try:
        import onnx
    except ImportError as error:
        raise Unavailable(
            "the graph cannot be rewritten for a GPU without the package onnx: pip install '.[gpu]'"
        ) from error
    return onnx.load_from_string(graph)


def _halve(model: Model) -> None:
    import onnx

    model.CopyFrom(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise Unavailable("the graph has branches or loops, which cannot be computed in fp16: use fp32")
    floats = {name for name, kind in _types(graph) if kind == onnx.TensorProto.FLOAT}
    outputs = {output.name for output in graph.output}
    nodes = [made for node in graph.node for made in _halved(node, floats, outputs)]
    for weight in graph.initializer:
        _halve_tensor(weight)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def _types(graph: Any) -> Iterator[tuple[str, int]]:
    """Every tensor's name and element type."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name, value.type.tensor_type.elem_type
    for weight in graph.initializer:
        yield weight.name, weight.data_type


def _halved(node: Node, floats: set[str], outputs: set[str]) -> Iterator[Node]:
    """The node in float16 with the casts that it needs around it."""
    from onnx import TensorProto, helper

    after = []
    if node.op_type in _FP32_ONLY:
        for place, name in enumerate(node.input):
            if name in floats:
                node.input[place] = f"{node.output[0]}/input{place}"
                yield helper.make_node("Cast", [name], [node.input[place]], to=TensorProto.FLOAT)
        for place, name in enumerate(node.output):
            if name in floats and name not in outputs:
                node.output[place] = f"{name}/float32"
                after.append(helper.make_node("Cast", [node.output[place]], [name], to=TensorProto.FLOAT16))
    else:
        for attribute in node.attribute:
            _halve_attribute(attribute)
        for place, name in enumerate(node.output):
            if name in floats & outputs:
                node.output[place] = f"{name}/float16"
                after.append(helper.make_node("Cast", [node.output[place]], [name], to=TensorProto.FLOAT))
    yield node
    yield from after


def _halve_attribute(attribute: Any) -> None:
    """A constant, and what a cast or a generator is told to give."""
    from onnx import TensorProto

    if attribute.HasField("t"):
        _halve_tensor(attribute.t)
    if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.FLOAT16


def _halve_tensor(tensor: Any) -> None:
    """In place; what float16 cannot hold becomes the largest that it can, as a mask's minus infinity."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT:
        values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _swap_cast(model: Model) -> None:
    nodes = model.graph.node
    if len(nodes) < 2:
        return
    move, cast = nodes[0], nodes[1]
    alone = sum(move.output[0] in node.input for node in nodes) == 1
    if (move.op_type, cast.op_type) != ("Transpose", "Cast") or cast.input[0] != move.output[0] or not alone:
        return
    between, end = move.output[0], cast.output[0]
    cast.input[0], cast.output[0] = move.input[0], between
    move.input[0], move.output[0] = between, end
    first = [type(cast).FromString(node.SerializeToString()) for node in (cast, move)]
    nodes[0].CopyFrom(first[0])
    nodes[1].CopyFrom(first[1])
