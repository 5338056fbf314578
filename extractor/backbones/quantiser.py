"""Writes a bundle's network in int8: static quantisation by ONNX Runtime's own tool, which needs `onnx`."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractor.backbones.bundle import Bundle
from extractor.backbones.rewriting import check_size
from extractor.errors import Unavailable

METHODS = ("percentile", "minmax", "entropy")
"""Ways to find the range of each activation from what it was on real pictures."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "percentile": {"num_bins": 2048, "percentile": 99.99},
    "minmax": {},
    "entropy": {"num_bins": 128, "num_quantized_bins": 128},
}
_HEAVY = ("Conv", "Gemm", "MatMul")
_QUANTISED = [*_HEAVY, "Add", "Clip", "Relu"]
_CHUNK = 8
"""Pictures whose activations are in memory at once."""

Pixels = NDArray[np.uint8]
Ranges = Any
"""ONNX Runtime's own `TensorsData`."""


class Quantiser:
    """Makes int8 graphs of one bundle: weights by channel, activations by the ranges that they had.

    Parameters
    ----------
    bundle : Bundle

    Attributes
    ----------
    layers : int
        How many convolutions and products of matrices there are.

    Raises
    ------
    Unavailable
        When the package `onnx` is not installed, or the graph is over 2 GB.
    """

    def __init__(self, bundle: Bundle) -> None:
        try:
            import onnx
        except ImportError as error:
            raise Unavailable(
                "making an int8 graph needs the package onnx (running one does not): pip install onnx"
            ) from error
        check_size(bundle)
        self._model = onnx.shape_inference.infer_shapes(onnx.load(str(bundle.model)))
        for place, node in enumerate(self._model.graph.node):
            node.name = node.name or f"node{place}"  # layers are left out by name
        self._layers = [node.name for node in self._model.graph.node if node.op_type in _HEAVY]
        self._input = self._model.graph.input[0].name
        self.layers = len(self._layers)

    def ranges(self, method: str, pixels: Sequence[Pixels]) -> Ranges:
        """What every activation was on these pictures, by one of `METHODS`."""
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

        kinds = {"percentile": "Percentile", "minmax": "MinMax", "entropy": "Entropy"}
        with tempfile.TemporaryDirectory() as folder, _quietly():
            calibrator = create_calibrator(
                self._written(Path(folder)),
                _QUANTISED,
                augmented_model_path=str(Path(folder, "augmented.onnx")),
                calibrate_method=CalibrationMethod[kinds[method]],
                extra_options=_OPTIONS[method],
            )
            for begin in range(0, len(pixels), _CHUNK):
                calibrator.collect_data(_Reader(self._input, pixels[begin : begin + _CHUNK]))
            return calibrator.compute_data()

    def quantised(self, ranges: Ranges, exact: int) -> bytes:
        """The network in int8, but for its first `exact` layers."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = type(self._model)()
        model.CopyFrom(self._model)  # the tool changes what it is given
        tool = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=self._first(exact),
            op_types_to_quantize=_QUANTISED,
            extra_options={},
        )
        with _quietly():
            tool.quantize_model()
        return bytes(tool.model.model.SerializeToString())

    def _first(self, exact: int) -> list[str]:
        """All nodes before the first layer that is quantised."""
        names = [node.name for node in self._model.graph.node]
        return names[: names.index(self._layers[exact])] if exact else []

    def _written(self, folder: Path) -> Path:
        import onnx

        file = folder / "model.onnx"
        onnx.save(self._model, str(file))
        return file


class _Reader:
    """Pictures as ONNX Runtime's calibration asks for them: one at a time, and None in the end."""

    def __init__(self, name: str, pixels: Sequence[Pixels]) -> None:
        self._feeds: Iterator[dict[str, Pixels]] = ({name: picture[np.newaxis]} for picture in pixels)

    def get_next(self) -> dict[str, Pixels] | None:
        return next(self._feeds, None)

    def __iter__(self) -> Iterator[dict[str, Pixels]]:
        return self._feeds


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The tool prints and warns of how it does its work; standard output is for results."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
