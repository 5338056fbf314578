"""The work of every peer, as a careful user writes it: Pillow decodes and resizes, ONNX Runtime runs.

The peers are told what to run by environment variables (`PEER_...`), because
some of their libraries keep the command line for themselves.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

PORT = int(os.environ.get("PEER_PORT", "0"))
CORES = len(os.sched_getaffinity(0))
THREADS = int(os.environ.get("PEER_THREADS", "0"))
"""For trying others than each peer's own number of threads or worker processes."""

QUEUE = int(os.environ.get("PEER_QUEUE", "0"))
"""How many requests may wait before the peer refuses more, where it can; 0 for what it does by default."""


class Model:
    """One bundle's network; `embed` may be called from several threads.

    Parameters
    ----------
    parallel : int
        How many calls this process makes at the same time.
    """

    def __init__(self, parallel: int = 1) -> None:
        bundle = Path(os.environ["PEER_BUNDLE"])
        self._spec: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())["preprocessing"]
        self._session = _session(bundle / "model.onnx", os.environ.get("PEER_NUMERICS", "cpu/fp32"), parallel)
        self._input = self._session.get_inputs()[0].name

    def embed(self, photo: bytes) -> bytes:
        """The vector of one image file, as little-endian float32."""
        return self.infer(self.decode(photo))

    def decode(self, photo: bytes) -> NDArray[np.uint8]:
        """Pixels of shape (height, width, 3): torchvision's Resize and CenterCrop, in one step."""
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        width, height, shorter = self._spec["width"], self._spec["height"], self._spec["resize_shorter"]
        wide, high = (int(shorter * side / min(image.size)) for side in image.size)
        left, top = round((wide - width) / 2), round((high - height) / 2)
        across, down = image.width / wide, image.height / high
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        filter = Image.Resampling[self._spec["interpolation"].upper()]
        return np.asarray(image.resize((width, height), filter, box=box))

    def infer(self, pixels: NDArray[np.uint8]) -> bytes:
        """The vector of one image's pixels."""
        vectors: NDArray[np.float32] = self._session.run(None, {self._input: pixels[np.newaxis]})[0]
        return bytes(vectors[0].tobytes())


def _session(model: Path, numerics: str, parallel: int) -> ort.InferenceSession:
    """One image a run and one thread a run: on a CPU the fastest there is, for these networks."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("n", 1)
    provider, precision = numerics.split("/")
    if provider == "cpu":
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    hint = {"bf16": "bf16", "fp32": "f32"}[precision]
    config = {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": str(parallel),
        "INFERENCE_NUM_THREADS": str(parallel),
    }
    openvino = {"device_type": "CPU", "load_config": json.dumps({"CPU": config})}
    return ort.InferenceSession(model, options, providers=[("OpenVINOExecutionProvider", openvino)])
