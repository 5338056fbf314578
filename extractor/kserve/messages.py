"""The Open Inference Protocol's messages to values and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr  # cut short: what a caller sends may be of any length
from typing import Any

import numpy as np

from extractor import wire
from extractor._pb.inference import open_inference_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2 import VectorForm
from extractor.errors import InvalidArgument
from extractor.kserve import tensors
from extractor.results import Result
from extractor.wire import Info

VERSION = "1"
"""The model's only one: another backbone is another model."""

INPUT = "image"
"""The model's only input: files, of shape [N] or [N, 1]."""

OUTPUTS = {"embedding": "FP32", "error": "BYTES", "digest": "BYTES", "cached": "BOOL"}
"""Names and datatypes of what the model gives, each with one row an image."""

_NUMBERS = {"FP32": VectorForm.NUMBER_UNSPECIFIED, "FP16": VectorForm.FLOAT16}
_DATATYPES = {number: datatype for datatype, number in _NUMBERS.items()}
_PARAMETERS = {"datatype": str, "fingerprint": str, "timeout": int, "unit_length": bool}
_WITHOUT_EFFECT = frozenset({"priority", "sequence_end", "sequence_id", "sequence_start"})


@dataclass(frozen=True, slots=True)
class Inference:
    """What one request asks for, beside its images.

    Attributes
    ----------
    count : int
        How many images it says that it has.
    outputs : tuple of str
        In the order in which they shall come.
    form : VectorForm
        The embedding's.
    fingerprint : str
        The backbone that the caller wants, in hex; empty for any.
    timeout : float
        Seconds after which the answer is of no use any more.
    """

    count: int
    outputs: tuple[str, ...]
    form: VectorForm
    fingerprint: str
    timeout: float


def unpack(request: pb.ModelInferRequest) -> Inference:
    """What a request asks for.

    Raises
    ------
    InvalidArgument
        When that cannot be had.
    """
    given = _parameters([request.parameters, *(output.parameters for output in request.outputs)])
    datatype = given.get("datatype", "FP32")
    if datatype not in _NUMBERS:
        raise InvalidArgument(f"embeddings come as {_listed(_NUMBERS)}, not as {repr(datatype)}")
    return Inference(
        count=_count(request.inputs),
        outputs=_outputs([output.name for output in request.outputs]),
        form=VectorForm(number=_NUMBERS[datatype], unit_length=given.get("unit_length", False)),
        fingerprint=given.get("fingerprint", ""),
        timeout=_timeout(given.get("timeout", 0)),
    )


def unpack_images(request: pb.ModelInferRequest, count: int) -> list[bytes]:
    """The elements of a request's tensor, which came raw or typed.

    Raises
    ------
    InvalidArgument
        When there are not `count` of them.
    """
    raw, typed = request.raw_input_contents, request.inputs[0].contents.bytes_contents
    if len(raw) > 1 or (raw and typed):
        raise InvalidArgument(f"the elements of {INPUT!r} came more than once: send them raw or typed, once")
    if raw:
        return tensors.split(INPUT, raw[0], count)
    if len(typed) != count:
        raise InvalidArgument(f"{INPUT!r} has the shape of {count} elements and came with {len(typed)}")
    return list(typed)


def _count(inputs: Sequence[pb.ModelInferRequest.InferInputTensor]) -> int:
    """The number of images by the shape of the one input."""
    if (names := [tensor.name for tensor in inputs[:9]]) != [INPUT]:
        raise InvalidArgument(f"the model takes one input, {[INPUT]}, and the request has {repr(names)}")
    datatype, shape = inputs[0].datatype, list(inputs[0].shape[:3])
    if datatype != "BYTES":
        raise InvalidArgument(f"{INPUT!r} has datatype BYTES, a file for each image, not {repr(datatype)}")
    if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise InvalidArgument(f"{INPUT!r} has the shape [N] or [N, 1] for N images, not {shape}")
    return shape[0]


def _outputs(names: Sequence[str]) -> tuple[str, ...]:
    unknown = next((name for name in names if name not in OUTPUTS), None)
    if unknown is not None:
        raise InvalidArgument(f"the model has no output {repr(unknown)}: it has {_listed(OUTPUTS)}")
    if len(set(names)) < len(names):
        raise InvalidArgument("an output was asked for twice")
    return tuple(names) or tuple(OUTPUTS)


def _timeout(microseconds: int) -> float:
    """In seconds; 0 is none."""
    if microseconds < 0:
        raise InvalidArgument(f"the parameter 'timeout' is from 0 microseconds, not {microseconds}")
    return microseconds / 1e6 or math.inf


def _parameters(several: Iterable[Mapping[str, pb.InferParameter]]) -> dict[str, Any]:
    """The values of what is known; what only Triton's scheduling knows is passed over."""
    values: dict[str, Any] = {}
    for name, parameter in (item for one in several for item in one.items()):
        if name in _WITHOUT_EFFECT or name.startswith("triton_"):
            continue
        if name not in _PARAMETERS:
            raise InvalidArgument(f"there is no parameter {repr(name)}: there are {_listed(_PARAMETERS)}")
        choice = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, choice) if choice else None
        if type(value) is not _PARAMETERS[name]:  # a bool is an int to isinstance
            raise InvalidArgument(
                f"the parameter {repr(name)} has type {_PARAMETERS[name].__name__}, and is not {repr(value)}"
            )
        values[name] = value
    return values


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def pack(inference: Inference, results: Sequence[Result], info: Info, name: str) -> pb.ModelInferResponse:
    """The tensors that were asked for, with a row for each result.

    Parameters
    ----------
    inference : Inference
    results : sequence of Result
    info : Info
    name : str
        What the caller calls its request.
    """
    response = pb.ModelInferResponse(model_name=info.backbone, model_version=VERSION, id=name)
    for output in inference.outputs:
        tensor = response.outputs.add(name=output, datatype=OUTPUTS[output], shape=[len(results)])
        if output == "embedding":
            tensor.datatype = _DATATYPES[inference.form.number]
            tensor.shape.append(info.dim)
        response.raw_output_contents.append(_elements(output, results, info.dim, inference.form))
    response.parameters["failed"].int64_param = sum(not result.ok for result in results)
    _tag(response.parameters, info)
    return response


def describe(info: Info) -> pb.ModelMetadataResponse:
    """What the model is, takes and gives."""
    model = pb.ModelMetadataResponse(name=info.backbone, versions=[VERSION], platform="onnx_onnxv1")
    model.inputs.add(name=INPUT, datatype="BYTES", shape=[-1])
    for name, datatype in OUTPUTS.items():
        model.outputs.add(name=name, datatype=datatype, shape=[-1, info.dim] if name == "embedding" else [-1])
    _tag(model.outputs[0].tags, info)
    return model


def _tag(parameters: Any, info: Info) -> None:
    """Say which vectors may be compared with these."""
    parameters["fingerprint"].string_param = info.fingerprint
    parameters["numerics"].string_param = info.numerics


def _elements(output: str, results: Sequence[Result], dim: int, form: VectorForm) -> bytes:
    match output:
        case "embedding":
            return _rows(results, dim, form)
        case "error":
            return tensors.join(_reason(result) for result in results)
        case "digest":
            return tensors.join(result.digest or b"" for result in results)
        case _:
            return bytes(result.cached for result in results)


def _rows(results: Sequence[Result], dim: int, form: VectorForm) -> bytes:
    nothing = np.full(dim, np.nan, np.float32)
    rows = (nothing if result.embedding is None else result.embedding for result in results)
    return b"".join(wire.vector_bytes(row, form) for row in rows)


def _reason(result: Result) -> bytes:
    """Why there is no embedding; empty when there is one."""
    return str(result.error or "").encode(errors="backslashreplace")
