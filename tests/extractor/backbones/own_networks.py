"""Small ONNX files, as users have them, that weigh every pixel of a picture by a weight of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, DIM = 32, 6

SPEC: dict[str, Any] = {
    "name": "mine",
    "layout": "nchw",
    "size": SIDE,
    "resize_shorter": 36,
    "interpolation": "bicubic",
    "units": "0..1",
    "mean": [0.2, 0.3, 0.4],
    "std": [0.5, 0.6, 0.7],
    "licence": "MIT",
    "source": "trained by us",
}


def weights(seed: int = 0) -> np.ndarray:
    """float32 [dim, 3, side, side], in the order red, green, blue."""
    return np.random.default_rng(seed).normal(size=(DIM, 3, SIDE, SIDE)).astype(np.float32)


def write_spec(folder: Path, **changes: Any) -> Path:
    """`SPEC` as TOML; a change to None leaves the key out."""
    facts = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
    file = folder / "spec.toml"
    file.write_text("".join(f"{key} = {value!r}\n" for key, value in facts.items()))
    return file


def network(
    *,
    layout: str = "nchw",
    dtype: str = "float32",
    batch: int | str = "n",
    tail: list[Any] | None = None,
    constants: dict[str, np.ndarray] | None = None,
    outputs: tuple[str, ...] = ("vectors",),
    rank: int = 2,
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A convolution as large as the picture, then `tail`, from "map" to `outputs`."""
    shape = [batch, 3, SIDE, SIDE] if layout == "nchw" else [batch, SIDE, SIDE, 3]
    nodes, before = [], "pictures"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [before], ["upright"], perm=[0, 3, 1, 2]))
        before = "upright"
    if dtype == "uint8":
        nodes.append(helper.make_node("Cast", [before], ["numbers"], to=TensorProto.FLOAT))
        before = "numbers"
    nodes.append(helper.make_node("Conv", [before, "weights"], ["map"], kernel_shape=[SIDE, SIDE]))
    nodes += tail or [helper.make_node("Flatten", ["map"], ["vectors"], axis=1)]
    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "mine",
        [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in outputs],
        [
            numpy_helper.from_array(value, name)
            for name, value in {"weights": weights(), **(constants or {})}.items()
        ],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def features_of(side: int) -> onnx.ModelProto:
    """A convolution whose map of features is called "features", and classes behind it."""
    rng = np.random.default_rng(0)
    constants = {"kernels": rng.normal(size=(8, 3, 16, 16)), "classes": rng.normal(size=(8, 5))}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pictures", "kernels"], ["edges"], strides=[16, 16]),
            helper.make_node("Relu", ["edges"], ["features"]),
            helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "classes"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(model: onnx.ModelProto, folder: Path, **how: Any) -> Path:
    file = folder / "model.onnx"
    onnx.save_model(model, str(file), **how)
    return file
