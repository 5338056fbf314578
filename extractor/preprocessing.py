"""The rule by which a picture becomes a network's input, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input.

    `resize_shorter` is the length in pixels of the shorter side after the
    resize; a centre crop of `height` x `width` follows. `mean` and `std` are
    in units of the 0..1 pixel range, and are inside the ONNX graph already.
    """

    height: int
    width: int
    resize_shorter: int
    interpolation: Literal["bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
