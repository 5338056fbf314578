"""Products of many queries: the graphs are what is said of them, and they compute what NumPy computes."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load

from extractor.indexes import products as module
from extractor.indexes.products import GRAPHS, products

FOLDER = Path(module.__file__).parent
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}


def graph(dtype: np.dtype) -> ModelProto:
    """What lies beside the module; `save` of the package onnx has written it."""
    cast = [helper.make_node("Cast", ["rows"], ["wide"], to=TensorProto.FLOAT)]
    halves = dtype == np.float16
    nodes = [
        *(cast if halves else []),
        helper.make_node("Gemm", ["wide" if halves else "rows", "queries"], ["scores"], transB=1),
    ]
    made = helper.make_graph(
        nodes,
        "products",
        [
            helper.make_tensor_value_info("rows", KINDS[dtype], ["n", "dim"]),
            helper.make_tensor_value_info("queries", TensorProto.FLOAT, ["q", "dim"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", "q"])],
    )
    return helper.make_model(made, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("dtype", GRAPHS, ids=str)
def test_the_graph_is_one_product(dtype: np.dtype) -> None:
    assert load(FOLDER / GRAPHS[dtype]) == graph(dtype)


@pytest.mark.parametrize("dtype", GRAPHS, ids=str)
@pytest.mark.parametrize(
    ("count", "queries", "dim"), [(1, 1, 1), (7, 3, 5), (1000, 64, 1280), (0, 4, 8), (3, 0, 8)]
)
def test_products_are_those_of_the_plain_sum(dtype: np.dtype, count: int, queries: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, dim)).astype(dtype)
    asked = rng.standard_normal((queries, dim)).astype(np.float32)

    true = rows.astype(np.float64) @ asked.astype(np.float64).T

    assert products(rows, asked).shape == (count, queries)
    np.testing.assert_allclose(products(rows, asked), true, rtol=0, atol=dim * 2e-6)
