"""What the user's own file makes of a picture, slowly and plainly: the judge of the graph that is made of it.

Nothing here is shared with how pictures are decoded, resized and normalised
elsewhere: Pillow and numpy follow the spec word for word, and the file is run
as it is, without ONNX Runtime's optimisations.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from extractor.backbones.imported.graphs import Source, batch_of, input_of, output_of
from extractor.backbones.imported.spec import Spec
from extractor.backbones.onnx_file import first_line
from extractor.errors import InvalidArgument
from extractor.results import Vector

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_POOLED = {
    "none": ((2,), "[n, dim]"),
    "avg": ((3, 4), "[n, tokens, dim] or a map of features"),
    "cls": ((3,), "[n, tokens, dim]"),
}
"""By pooling, the axes that the output may have, and how that is said."""


class Judge:
    """The user's network as the file has it, behind a preprocessing of its own.

    Parameters
    ----------
    source : Source
    spec : Spec

    Attributes
    ----------
    rank : int
        Number of axes of the output before any pooling.
    dim : int
        Width of the embedding.

    Raises
    ------
    InvalidArgument
        When ONNX Runtime cannot run the file, or its output is no embedding.
    """

    def __init__(self, source: Source, spec: Spec) -> None:
        entry = input_of(source.model, spec)
        self._spec, self._entry, self._batch = spec, entry.name, batch_of(entry)
        self._output = output_of(source.model, spec)
        self._session = _opened(source, self._output)
        grey = self._run(Image.new("RGB", (2 * spec.preprocessing.resize_shorter,) * 2, "grey"))
        self.rank, self.dim = grey.ndim, len(self._pooled(grey[0]))

    def embed(self, image: Image.Image) -> Vector:
        """The embedding of one picture, float32 [dim]; InvalidArgument when it is no direction."""
        vector = self._pooled(self._run(image)[0])
        if not np.isfinite(vector).all() or not vector.any():
            raise InvalidArgument(
                f"the output {self._output!r} holds nothing but zeros, or what is no number, for a golden "
                "picture: look at units, mean and std in the spec"
            )
        return vector

    def _run(self, image: Image.Image) -> NDArray[Any]:
        pictures = np.repeat(prepared(image, self._spec)[None], self._batch, axis=0)
        try:
            (found,) = self._session.run([self._output], {self._entry: pictures})
        except Exception as error:  # onnxruntime raises its own kinds
            raise InvalidArgument(f"ONNX Runtime cannot run the network: {first_line(error)}") from error
        self._check(found)
        return np.asarray(found)

    def _check(self, found: Any) -> None:
        pooling = self._spec.pooling
        ranks, expected = _POOLED[pooling]
        shape = list(getattr(found, "shape", ()))
        kind = getattr(found, "dtype", type(found).__name__)
        if kind != np.float32 or len(shape) not in ranks or shape[0] != self._batch or not all(shape):
            instead = '; for [n, dim] write pooling = "none"' if len(shape) == 2 else ""
            raise InvalidArgument(
                f"the output {self._output!r} is {kind} of shape {shape} for {self._batch} pictures; "
                f'with pooling = "{pooling}" it must be float32 {expected}{instead * (pooling != "none")}'
            )

    def _pooled(self, one: Vector) -> Vector:
        if self._spec.pooling == "cls":
            return np.asarray(one[0])
        if self._spec.pooling == "none":
            return one
        rows = one if one.ndim == 2 or self._spec.layout == "nhwc" else np.moveaxis(one, 0, -1)
        mean: Vector = rows.reshape(-1, rows.shape[-1]).mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean


def prepared(image: Image.Image, spec: Spec) -> NDArray[Any]:
    """The network's input for one picture, as the spec says it."""
    rule = spec.preprocessing
    pixels = np.asarray(_cropped(image.convert("RGB"), spec))
    if spec.dtype == "float32":
        pixels = ((pixels / 255 - np.array(rule.mean)) / np.array(rule.std)).astype(np.float32)
    if spec.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    return np.moveaxis(pixels, 2, 0) if spec.layout == "nchw" else pixels


def _cropped(image: Image.Image, spec: Spec) -> Image.Image:
    rule = spec.preprocessing
    sides = (1, 1) if rule.resize == "squash" else image.size
    if rule.resize == "pad":
        width, height = (max(1, round(rule.resize_shorter * side / max(sides))) for side in sides)
    else:
        width, height = (rule.resize_shorter * side // min(sides) for side in sides)
    image = image.resize((width, height), _FILTERS[rule.interpolation])
    red, green, blue = (round(255 * mean) for mean in rule.mean)
    canvas = Image.new("RGB", (rule.width, rule.height), (red, green, blue))
    canvas.paste(image, (_place(width, rule.width), _place(height, rule.height)))
    return canvas


def _place(side: int, wanted: int) -> int:
    """Where a picture begins on one axis: beyond the edge, where it is larger than the input."""
    return (wanted - side) // 2 if side < wanted else -round((side - wanted) / 2)


def _opened(source: Source, output: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    try:
        if output in {value.name for value in source.model.graph.output}:
            return ort.InferenceSession(str(source.file), options, providers=providers)
        with tempfile.TemporaryDirectory() as folder:
            copy = _with_output(source.model, output, Path(folder))
            return ort.InferenceSession(str(copy), options, providers=providers)
    except Exception as error:  # onnxruntime raises its own kinds, with no common base
        raise InvalidArgument(f"ONNX Runtime cannot load {source.file}: {first_line(error)}") from error


def _with_output(model: Any, output: str, folder: Path) -> Path:
    """The file again, but for one more of its tensors as an output."""
    import onnx

    copy, file = onnx.ModelProto(), folder / "model.onnx"
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.ValueInfoProto(name=output))
    onnx.save_model(copy, str(file), save_as_external_data=True, location="weights")
    return file
