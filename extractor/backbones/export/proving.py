"""What is exported must be right before it takes any bundle's place."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from extractor import images
from extractor.backbones.bundle import Golden
from extractor.backbones.onnx_file import first_line
from extractor.errors import InvalidArgument
from extractor.preprocessing import Preprocessing


def check_vectors(golden: Sequence[Golden]) -> None:
    """InvalidArgument when the original network gives vectors that nothing can be compared with."""
    for item in golden:
        if not np.isfinite(item.vector).all():
            fault = "numbers that are not finite"
        elif not item.vector.any():
            fault = "nothing but zeros"
        else:
            continue
        raise InvalidArgument(
            f"these weights are of no use: with them the network gives {fault} for the picture {item.name}; "
            "nothing was replaced"
        )


def check_model(file: Path, rule: Preprocessing, golden: Sequence[Golden], bound: float) -> None:
    """Run the ONNX file on the CPU, where ONNX Runtime is installed, and compare.

    Parameters
    ----------
    file : Path
    rule : Preprocessing
        How our own decoding makes the pictures.
    golden : sequence of Golden
        The pictures with the original network's vectors.
    bound : float
        Smallest cosine that may be.

    Raises
    ------
    InvalidArgument
        When it cannot be run, or a cosine is under the bound.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    try:
        smallest = _smallest_cosine(file, rule, golden)
    except Exception as error:  # onnxruntime raises its own kinds, with no common base
        raise InvalidArgument(f"ONNX Runtime cannot run what was exported: {first_line(error)}") from error
    if not smallest >= bound:  # also when it is NaN
        raise InvalidArgument(
            "what was exported does not compute what the original network does: the smallest cosine is "
            f"{smallest:.5f}, under the bound of {bound}; nothing was replaced"
        )


def _smallest_cosine(file: Path, rule: Preprocessing, golden: Sequence[Golden]) -> float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    pictures = [images.decode(item.image, rule.exact)[None] for item in golden]
    found = [session.run(None, {"images": picture})[0][0] for picture in pictures]
    return float(np.min([item.cosine(row) for item, row in zip(golden, found, strict=True)]))
