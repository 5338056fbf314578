"""A user's ONNX file: read and checked, and where its input and its embedding are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from extractor.backbones.imported.spec import Spec
from extractor.backbones.onnx_file import BATCH, first_line, nodes_of, shape_of
from extractor.errors import InvalidArgument, NotFound

OLDEST_OPSET = 7
"""The first whose arithmetic broadcasts as what is put around a graph needs it."""

_ONNX_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


class Source(NamedTuple):
    """A user's ONNX file, read.

    Attributes
    ----------
    file : Path
    model : onnx.ModelProto
        With the weights that lie beside the file.
    sha256 : str
        Over the file, and those beside it.
    """

    file: Path
    model: Any
    sha256: str


def load(file: Path) -> Source:
    """Read an ONNX file, with the weights that lie beside it.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidArgument
        When it is no ONNX file, or a damaged one, or needs what is not ONNX.
    """
    import onnx

    try:
        model = onnx.load(str(file))
    except IsADirectoryError as error:
        raise InvalidArgument(f"{error.filename or file} is a folder: name the file in it") from None
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {error.filename or file}") from None
    except onnx.checker.ValidationError as error:
        raise InvalidArgument(f"the weights of {file} cannot be read: {first_line(error)}") from None
    except Exception as error:  # protobuf raises its own kinds
        raise InvalidArgument(f"{file} is no ONNX file, or is damaged") from error
    if not model.graph.node:
        raise InvalidArgument(f"{file} is no ONNX file, or its graph is empty")
    _check(model, file)
    return Source(file, _plain(model), _sha256(file))


def _sha256(file: Path) -> str:
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    bare = onnx.load(str(file), load_external_data=False)
    beside = {ExternalDataInfo(tensor).location for tensor in _tensors(bare) if uses_external_data(tensor)}
    digest = hashlib.sha256()
    for part in (file, *(file.parent / name for name in sorted(beside))):
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a protobuf message: weights, those in attributes, and those of graphs inside nodes."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if hasattr(value, "ListFields") else value:
                yield from _tensors(part)


def _plain(model: Any) -> Any:
    """Without functions of its own, and without what it was trained with."""
    import onnx.inliner

    del model.training_info[:]
    for tensor in _tensors(model):
        tensor.ClearField("data_location")  # all of them are here now
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _check(model: Any, file: Path) -> None:
    import onnx

    known = {*_ONNX_DOMAINS, *(function.domain for function in model.functions)}
    bodies = (model.graph, *model.functions)
    for node in (node for body in bodies for node in nodes_of(body)):
        if node.domain not in known:
            raise InvalidArgument(
                f"{file} needs the operator {node.op_type!r} of {node.domain!r}, which is not one of ONNX: "
                "export the network with the operators of ONNX alone"
            )
    if opset_of(model) < OLDEST_OPSET:
        raise InvalidArgument(
            f"{file} is written in opset {opset_of(model)}, and {OLDEST_OPSET} is the oldest that can be "
            "imported: convert it with onnx.version_converter"
        )
    try:
        onnx.checker.check_model(str(file))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InvalidArgument(f"{file} is no valid ONNX graph: {first_line(error)}") from None


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators."""
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    return int(max(versions, default=1))


def input_of(model: Any, spec: Spec) -> Any:
    """The one input that is no weight, where it takes what the spec says.

    Raises
    ------
    InvalidArgument
        When there are several, or it is of another type or shape.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise InvalidArgument(f"the graph must have one input, for pictures, and has {names}")
    tensor, shape = inputs[0].type.tensor_type, shape_of(inputs[0])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) if tensor.elem_type else "of no type"
    if dtype != spec.dtype:
        raise InvalidArgument(
            f"the graph's input {inputs[0].name!r} is {dtype}, and the spec says {spec.dtype}"
        )
    wanted = input_shape(spec)
    if len(shape) != 4 or any(
        one != two for one, two in zip(shape[1:], wanted[1:], strict=True) if isinstance(one, int)
    ):
        raise InvalidArgument(
            f"the graph's input {inputs[0].name!r} has the shape {shape}, and the spec says {wanted} "
            f"({spec.layout})"
        )
    return inputs[0]


def input_shape(spec: Spec) -> list[int | str]:
    """What the spec says of the network's input, the number of pictures first."""
    size = [spec.preprocessing.height, spec.preprocessing.width]
    return [BATCH, 3, *size] if spec.layout == "nchw" else [BATCH, *size, 3]


def output_of(model: Any, spec: Spec) -> str:
    """The tensor that is the embedding; InvalidArgument when it is not there, or could be several."""
    outputs = [value.name for value in model.graph.output]
    listed = ", ".join(map(repr, outputs))
    if spec.output is None:
        if len(outputs) != 1:
            raise InvalidArgument(f"the graph has the outputs {listed}: say in the spec which is the output")
        return str(outputs[0])
    if spec.output not in {name for node in model.graph.node for name in node.output if name}:
        raise InvalidArgument(f"the graph has no tensor {spec.output!r}; its outputs are {listed}")
    return spec.output


def batch_of(value: Any) -> int:
    """How many pictures a run takes: what the graph fixes, else one."""
    first = shape_of(value)[0]
    return first if isinstance(first, int) and first > 0 else 1
