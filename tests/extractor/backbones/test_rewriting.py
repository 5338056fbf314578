"""A GPU's graph computes what the bundle's does; run here on the CPU, which casts where it must."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from extractor import images
from extractor.backbones.bundle import MODEL, Bundle
from extractor.backbones.rewriting import cast_first, half, input_name
from extractor.errors import Unavailable


def run(graph: bytes, pixels: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (vectors,) = session.run(None, {session.get_inputs()[0].name: pixels})
    return vectors


def model(nodes: Sequence, weights: Sequence, kind: int = TensorProto.FLOAT) -> bytes:
    """A graph from `x` to `y` of any shape, with fp32 weights."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, [None, 3, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, None, None])],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()


@pytest.fixture(scope="module")
def golden(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """The golden pictures as pixels, and the vectors of the original network."""
    spec = bundle.manifest.preprocessing
    items = bundle.golden()
    return np.stack([images.decode(item.image, spec) for item in items]), np.stack([i.vector for i in items])


def test_the_half_graph_computes_the_backbone(bundle: Bundle, golden) -> None:
    """Also by onnx's own rules: shapes, types, and float32 in the end."""
    pixels, expected = golden
    graph = half(bundle.read(MODEL))
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    found = run(graph, pixels)
    assert found.dtype == np.float32
    cosines = np.sum(found * expected, 1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(found, run(bundle.read(MODEL), pixels))


def test_the_half_graph_has_half_the_weights_and_the_same_ends(bundle: Bundle) -> None:
    """No weight stays in float32; what goes in and comes out is as in the bundle."""
    plain, graph = bundle.read(MODEL), half(bundle.read(MODEL))
    assert 0.49 < len(graph) / len(plain) < 0.52
    before, after = onnx.load_from_string(plain).graph, onnx.load_from_string(graph).graph
    assert not any(weight.data_type == TensorProto.FLOAT for weight in after.initializer)
    assert (after.input, after.output) == (before.input, before.output)


def test_the_cast_comes_first_and_changes_nothing(bundle: Bundle, golden) -> None:
    """TensorRT moves no uint8; a graph that casts first already is left as it is."""
    pixels, _ = golden
    plain = bundle.read(MODEL)
    graph = cast_first(plain)
    assert [node.op_type for node in onnx.load_from_string(graph).graph.node][:2] == ["Cast", "Transpose"]
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    np.testing.assert_array_equal(run(graph, pixels[:2]), run(plain, pixels[:2]))
    assert cast_first(graph) == graph
    assert input_name(graph) == input_name(plain) == "images"


def test_an_operator_for_float32_alone_keeps_it() -> None:
    """Resize takes its scales in float32 only; the network around it is in float16."""
    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["scaled"]),
        helper.make_node("Resize", ["scaled", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Add", ["large", "weight"], ["y"]),
    ]
    weights = [("weight", np.float32([0.5])), ("scales", np.float32([1, 1, 2, 2]))]
    cast = helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)
    nodes[0].input[0] = "float"
    graph = model([cast, *nodes], weights, TensorProto.UINT8)
    x = np.arange(48, dtype=np.uint8).reshape(1, 3, 4, 4)
    onnx.checker.check_model(onnx.load_from_string(half(graph)), full_check=True)
    np.testing.assert_array_equal(run(half(graph), x), run(graph, x))


def test_what_float16_cannot_hold_becomes_its_largest() -> None:
    """A mask's minus infinity stays a number that hides; no weight becomes infinite."""
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["float", "mask"], ["y"]),
    ]
    graph = half(model(nodes, [("mask", np.float32([-3.4e38]))], TensorProto.UINT8))
    assert run(graph, np.zeros((1, 3, 1, 1), np.uint8)).min() == -65504


def test_a_constant_in_a_node_is_halved_too() -> None:
    """As exporters write small numbers."""
    value = numpy_helper.from_array(np.float32([1.5]))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["float", "c"], ["y"]),
    ]
    graph = half(model(nodes, [], TensorProto.UINT8))
    assert run(graph, np.ones((1, 3, 1, 1), np.uint8)).max() == 2.5


def test_branches_are_refused_in_a_sentence() -> None:
    """fp32 is the way out."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["float"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(Unavailable, match="cannot be computed in fp16: use fp32"):
        half(model(nodes, [("yes", np.array(True))], TensorProto.UINT8))


def test_without_onnx_it_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a GPU's graphs need it."""
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(Unavailable, match=r"pip install '.\[gpu\]'"):
        half(b"")
