"""An ONNX model on disk: fit for inference, each weight in it once, in two files when one cannot hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from extractor.errors import InvalidArgument

BATCH = "n"
"""What the number of pictures is called in a graph."""

INLINE_BYTES = 2**31 - 2**26
"""A file of ONNX ends under 2 GiB; what is left of that is for the nodes."""

_LARGE = 1024
"""Bytes from which a tensor counts as a weight, that must not be there twice."""


def write_model(model: Any, file: Path, inline_bytes: int = INLINE_BYTES) -> None:
    """Check `model` and write it to `file`; it is changed on the way.

    Parameters
    ----------
    model : onnx.ModelProto
    file : Path
    inline_bytes : int
        With weights of more bytes than this, those go to a second file, named as
        the first with `.data` after it, which must lie beside it to be read.

    Raises
    ------
    InvalidArgument
        When it is no graph for inference on any number of pictures.
    """
    import onnx

    data = file.with_name(f"{file.name}.data")
    data.unlink(missing_ok=True)
    _strip(model)
    share_weights(model.graph)
    check_for_inference(model)
    if sum(map(_size, model.graph.initializer)) > inline_bytes:
        onnx.save_model(
            model, str(file), save_as_external_data=True, location=data.name, size_threshold=_LARGE
        )
        data.chmod(file.stat().st_mode)  # onnx lets nobody else read it
    else:
        file.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(file), full_check=True)


def share_weights(graph: Any) -> None:
    """Keep one of several equal weights, and none that nothing reads."""
    first: dict[bytes, str] = {}
    kept = {tensor.name: first.setdefault(_content(tensor), tensor.name) for tensor in graph.initializer}
    for node in nodes_of(graph):
        node.input[:] = [kept.get(name, name) for name in node.input]
    read = {name for node in nodes_of(graph) for name in node.input} | {value.name for value in graph.output}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]


def check_for_inference(model: Any) -> None:
    """Refuse what belongs to training, and a batch of one fixed size.

    Raises
    ------
    InvalidArgument
        Names the node, or the tensor and its shape.
    """
    for node in nodes_of(model.graph):
        if node.op_type == "Dropout" or (node.op_type == "BatchNormalization" and _trains(node)):
            raise InvalidArgument(
                f"the graph holds the {node.op_type} node {node.name!r}, which is for training: "
                "export the network in evaluation mode"
            )
    for value in (model.graph.input[0], model.graph.output[0]):
        if not (shape := shape_of(value)) or shape[0] != BATCH:
            raise InvalidArgument(f"the batch of {value.name!r} is fixed: its shape is {shape}")


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node, also of the graphs inside nodes."""
    for node in graph.node:
        yield node
        yield from nodes_within(node)


def nodes_within(node: Any) -> Iterator[Any]:
    """The nodes of the graphs that a node holds, such as the branches of an If."""
    for attribute in node.attribute:
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield from nodes_of(inner)


def shape_of(value: Any) -> list[int | str]:
    """The shape of an input or output; a name, which may be empty, for what is not fixed."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims]


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _strip(model: Any) -> None:
    """Remove what tells where and by which build it was made: the same versions give the same bytes."""
    model.producer_name, model.producer_version = "penultimate", ""
    del model.graph.value_info[:]
    for part in _parts(model):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _parts(model: Any) -> Iterator[Any]:
    graph = model.graph
    yield from (model, graph)
    for parts in (graph.node, graph.initializer, graph.input, graph.output):
        yield from parts


def _trains(node: Any) -> bool:
    mode = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    return mode or len(node.output) > 1


def _size(tensor: Any) -> int:
    """Bytes of a weight; protobuf itself cannot count over 2 GiB."""
    return len(tensor.raw_data) or int(tensor.ByteSize())


def _content(tensor: Any) -> bytes:
    """What two equal weights have in common; for small tensors, which may well be equal, their name."""
    if len(tensor.raw_data) < _LARGE:
        return bytes(tensor.name, "utf-8")
    kind = f"{tensor.data_type} {list(tensor.dims)} ".encode()
    return hashlib.sha256(kind + tensor.raw_data).digest()
