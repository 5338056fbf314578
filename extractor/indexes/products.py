"""The scores of several queries: ONNX Runtime's matrix product.

It uses AVX-512 on every processor that has it, where the OpenBLAS in NumPy's
wheels keeps to AVX2 on AMD's and takes twice the time, and it widens 16-bit
floats block by block in the cache. The two graphs beside this file are one
node (`Gemm`) and two (`Cast`, `Gemm`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.indexes.threads import each, ranges
from extractor.results import Vector

Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float16]

_LEAST = 128

GRAPHS = {np.dtype(np.float32): "products.onnx", np.dtype(np.float16): "products_fp16.onnx"}


def products(rows: Rows, queries: Vector) -> Vector:
    """The product of each row with each query, summed in float32, on all cores.

    Parameters
    ----------
    rows : float32 or float16 array of shape (n, dim)
    queries : float32 array of shape (q, dim)

    Returns
    -------
    float32 array of shape (n, q)
    """
    parts = each(lambda part: products_here(rows[part], queries), ranges(len(rows), _LEAST))
    return np.concatenate(parts)


def products_here(rows: Rows, queries: Vector) -> Vector:
    """The same, in the thread that calls."""
    (scores,) = _session(rows.dtype).run(None, {"rows": rows, "queries": queries})
    found: Vector = scores
    return found


@cache
def _session(dtype: np.dtype[Any]) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    graph = Path(__file__).with_name(GRAPHS[dtype])
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
