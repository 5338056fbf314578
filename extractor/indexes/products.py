"""The scores of several queries: ONNX Runtime's matrix product.

It uses AVX-512 on every processor that has it, where the OpenBLAS in NumPy's
wheels keeps to AVX2 on AMD's and takes twice the time, and it widens 16-bit
floats block by block in the cache. The two graphs beside this file are one
node (`Gemm`) and two (`Cast`, `Gemm`).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.indexes.threads import cores
from extractor.results import Vector

Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float16]

GRAPHS = {np.dtype(np.float32): "products.onnx", np.dtype(np.float16): "products_fp16.onnx"}


def products(rows: Rows, queries: Vector) -> Vector:
    """The product of each row with each query, summed in float32.

    Parameters
    ----------
    rows : float32 or float16 array of shape (n, dim)
    queries : float32 array of shape (q, dim)

    Returns
    -------
    float32 array of shape (n, q)
    """
    (scores,) = _session(rows.dtype).run(None, {"rows": rows, "queries": queries})
    found: Vector = scores
    return found


@cache
def _session(dtype: np.dtype[Any]) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    # between two blocks, and beside other work, waiting threads must not burn a core
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = Path(__file__).with_name(GRAPHS[dtype])
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


os.register_at_fork(after_in_child=_session.cache_clear)  # threads do not come along
