"""The rule by which a picture becomes a network's input, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Resize = Literal["shorter", "squash", "pad"]
"""How a picture fills the box that it is resized to: covers it and keeps its proportions, is squashed to it,
or keeps them inside it, and what is then left of the input has the colour of the mean."""

Decode = Literal["exact", "fast", "gpu"]
"""How a file's pixels are read; see `extractor.images`."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input.

    It is resized to a box whose sides are `resize_shorter` pixels long: so long
    is then its shorter side, or both where it is squashed, or its longer side
    where it is padded. Of a box that is not square `resize_longer` is the
    longer side, which lies as the input's does. A centre crop of `height` x
    `width` follows. `mean` and `std` are in units of the 0..1 pixel range, and
    are inside the ONNX graph already.

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
    resize_longer: int | None = None

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
    def box(self) -> tuple[int, int]:
        """Height and width of the box that a picture is resized to."""
        longer = self.resize_longer or self.resize_shorter
        return (longer, self.resize_shorter) if self.height > self.width else (self.resize_shorter, longer)

    @property
    def exact(self) -> Preprocessing:
        """The same rule with every pixel decoded: what the original network's vectors are compared with."""
        return replace(self, decode="exact")

    def facts(self) -> dict[str, Any]:
        """What tells it from others: without what is usual, so that fingerprints outlive new fields."""
        usual = {"decode": "exact", "resize": "shorter", "resize_longer": None}
        return {key: value for key, value in asdict(self).items() if key not in usual or usual[key] != value}
