"""The rule by which a picture becomes a network's input, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Resize = Literal["shorter", "squash"]
"""Whether a picture keeps its proportions when it is resized, by its shorter side, or becomes square."""

Decode = Literal["exact", "fast", "gpu"]
"""How a file's pixels are read; see `extractor.images`."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input.

    `resize_shorter` is the length in pixels of the shorter side after the
    resize, or of both sides where the picture is squashed; a centre crop of
    `height` x `width` follows. `mean` and `std` are in units of the 0..1 pixel
    range, and are inside the ONNX graph already.

    Raises
    ------
    ValueError
        For a `decode` or a `resize` that is unknown here, as in a manifest of
        a later version.
    """

    height: int
    width: int
    resize_shorter: int
    interpolation: Literal["bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    decode: Decode = "exact"
    resize: Resize = "shorter"

    def __post_init__(self) -> None:
        if self.decode not in get_args(Decode):
            raise ValueError(
                f"its pictures are decoded by {self.decode!r}, and this version knows "
                + ", ".join(get_args(Decode))
            )
        if self.resize not in get_args(Resize):
            raise ValueError(
                f"its pictures are resized by {self.resize!r}, and this version knows "
                + ", ".join(get_args(Resize))
            )

    @property
    def exact(self) -> Preprocessing:
        """The same rule with every pixel decoded: what the original network's vectors are compared with."""
        return replace(self, decode="exact")

    def facts(self) -> dict[str, Any]:
        """What tells it from others: without what is usual, so that fingerprints outlive new fields."""
        usual = {"decode": "exact", "resize": "shorter"}
        return {key: value for key, value in asdict(self).items() if usual.get(key) != value}
