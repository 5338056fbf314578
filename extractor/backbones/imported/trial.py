"""Which of several graphs computes what the judge says, for any number of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from extractor import images
from extractor.backbones.bundle import Golden
from extractor.backbones.onnx_file import first_line, write_model
from extractor.backbones.proof import MIN_COSINE
from extractor.errors import InvalidArgument
from extractor.preprocessing import Preprocessing
from extractor.results import Vector

_SIZES = (1, 2, 3)
"""Numbers of pictures that are tried: one, and two that no graph was made for."""


def write_proved(graphs: Iterable[Any], golden: list[Golden], rule: Preprocessing, file: Path) -> None:
    """Write the first graph to `file` that gives the golden vectors, pictures alone and together.

    Parameters
    ----------
    graphs : iterable of onnx.ModelProto
    golden : list of Golden
        The pictures with the judge's vectors.
    rule : Preprocessing
        By which our own decoding makes pictures.
    file : Path

    Raises
    ------
    InvalidArgument
        When none does; says why the first does not.
    """
    pictures = [images.decode(item.image, rule) for item in golden]
    reasons = []
    for graph in graphs:
        try:
            write_model(graph, file)
            return _prove(file, pictures, golden)
        except InvalidArgument as error:
            reasons.append(error)
        except Exception as error:  # noqa: BLE001 - onnx and onnxruntime raise their own kinds
            reasons.append(InvalidArgument(_fixed_batch(error)))
    raise reasons[0]


def _prove(file: Path, pictures: list[Any], golden: list[Golden]) -> None:
    session = _opened(file)
    alone = [_run(session, pictures[place : place + 1])[0] for place in range(len(pictures))]
    _compare(alone, golden, "alone")
    for size in _SIZES[1:]:
        _compare(_run(session, pictures[:size]), golden, f"with {size} pictures at once")


def _opened(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, pictures: list[Any]) -> Vector:
    found: Vector = session.run(None, {"images": np.stack(pictures)})[0]
    if len(found) != len(pictures):
        raise ValueError(f"{len(found)} vectors came for {len(pictures)} pictures")
    return found


def _compare(found: Iterable[Vector], golden: list[Golden], how: str) -> None:
    cosines = [item.cosine(row) for item, row in zip(golden, found, strict=False)]
    smallest, bound = float(np.min(cosines)), MIN_COSINE["fp32"]
    if not smallest >= bound:  # also when it is NaN
        raise InvalidArgument(
            f"the graph made of the file does not compute what the file does, {how}: the smallest cosine "
            f"is {smallest:.5f}, under the bound of {bound}"
        )


def _fixed_batch(error: Exception) -> str:
    return (
        "the network takes only the number of pictures that it was exported with: export it with a "
        f"dynamic batch ({first_line(error)})"
    )
