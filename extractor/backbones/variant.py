"""What a user may change about a backbone, and the name that the changed backbone goes by.

```
resnet50                               as its authors use it
resnet50@layer3-avg+layer4-max         two of its layers, one after the other
resnet50@320px@flip@fast               larger pictures, mirrored too, decoded faster
```

The name is the bundle's folder and what `--backbone` takes. It says all there
is, so that it can be read back, and there is one name for each variant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from extractor.errors import InvalidArgument
from extractor.preprocessing import Decode
from extractor.settings import checked_name

Pooling = Literal["avg", "max", "gem", "cls"]
Views = Literal["plain", "flip", "flips"]
Profile = Decode

POOLINGS: tuple[str, ...] = get_args(Pooling)
DEFAULT_LAYER = "global_pool"
SMALLEST_SIZE, LARGEST_SIZE = 32, 4096

_MARK = "@"
_TIMM = "timm/"
_LAYER_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_LONGEST_SUFFIX = 120


class Cut(NamedTuple):
    """One layer of a network, and how its output becomes one vector for each picture."""

    layer: str
    pooling: str

    def __str__(self) -> str:
        return f"{self.layer}:{self.pooling}"

    @classmethod
    def parse(cls, text: str) -> Cut:
        """Read "NAME" (its average) or "NAME:POOLING"; InvalidArgument for anything else."""
        layer, colon, pooling = text.partition(":")
        if not _LAYER_NAME.fullmatch(layer):
            raise InvalidArgument(
                f"{layer!r} cannot be the name of a layer: those have letters, digits, '_' and '.'"
            )
        if colon and pooling not in POOLINGS:
            raise InvalidArgument(
                f"{pooling!r} is no pooling of the layer {layer}: there are {', '.join(POOLINGS)}"
            )
        return cls(layer, pooling or "avg")


@dataclass(frozen=True, slots=True)
class Variant:
    """What is changed about a backbone; nothing by default.

    Attributes
    ----------
    layers : tuple of str
        Where it is cut, each "NAME" or "NAME:POOLING": their vectors are put
        one after the other. None for the layer before the classifier.
    size : int, optional
        Side of the square input, in pixels; the backbone's own when left out.
    views : {"plain", "flip", "flips"}
        "flip" gives the mean over the picture and its mirror image, "flips"
        over these two and both upside down.
    profile : {"exact", "fast", "gpu"}
        How pictures are decoded.

    Raises
    ------
    InvalidArgument
        For a value that cannot be; whether a network has such a layer, or
        takes such a size, only the export can tell.
    """

    layers: tuple[str, ...] = ()
    size: int | None = None
    views: Views = "plain"
    profile: Profile = "exact"

    def __post_init__(self) -> None:
        layers = tuple(str(Cut.parse(text)) for text in self.layers)
        object.__setattr__(self, "layers", layers)  # "NAME" and "NAME:avg" are one thing
        if twice := next((layer for layer in layers if layers.count(layer) > 1), None):
            raise InvalidArgument(f"the layer {twice} is named twice")
        _check_size(self.size)
        _check_choice("views", self.views, get_args(Views))
        _check_choice("profile", self.profile, get_args(Profile))
        if len(self.suffix) > _LONGEST_SUFFIX:
            raise InvalidArgument(
                f"{self.suffix[1:]!r} is too long for the name of a folder, by "
                f"{len(self.suffix) - _LONGEST_SUFFIX} characters: name fewer layers"
            )

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The layers and their pooling."""
        return tuple(map(Cut.parse, self.layers))

    @property
    def layer(self) -> str:
        """The manifest's name of where the network is cut."""
        return "+".join(self.layers) or DEFAULT_LAYER

    @property
    def suffix(self) -> str:
        """What is put behind the backbone's name: "" where nothing is changed, else unlike any other's."""
        parts = (
            "+".join(f"{cut.layer}-{cut.pooling}" for cut in self.cuts),
            f"{self.size}px" if self.size else "",
            "" if self.views == "plain" else self.views,
            "" if self.profile == "exact" else self.profile,
        )
        return "".join(_MARK + part for part in parts if part)

    @property
    def options(self) -> str:
        """What `penultimate export NAME` has to be given, with a space before each option."""
        options = (
            *(f"--layer {layer}" for layer in self.layers),
            f"--size {self.size}" if self.size else "",
            "" if self.views == "plain" else f"--views {self.views}",
            "" if self.profile == "exact" else f"--profile {self.profile}",
        )
        return "".join(f" {option}" for option in options if option)

    @classmethod
    def of_suffix(cls, suffix: str) -> Variant:
        """Read back what `suffix` wrote; InvalidArgument for anything else."""
        facts: dict[str, object] = {}
        for part in suffix.split(_MARK)[1:]:
            facts |= _read_part(part)
        variant = cls(**facts)  # type: ignore[arg-type]
        if variant.suffix != suffix:
            raise InvalidArgument(f"{suffix!r} is not how a variant is named: write {variant.suffix!r}")
        return variant


def split_name(name: str) -> tuple[str, Variant]:
    """A backbone's name, and what is changed about it; InvalidArgument for what is no variant."""
    backbone, mark, rest = name.partition(_MARK)
    return backbone, Variant.of_suffix(mark + rest)


def folder_of(name: str) -> str:
    """Where the bundle called `name` lies among the backbones.

    A name of timm's, `timm/NAME`, lies in `timm--NAME`: a slash would be two folders.

    Raises
    ------
    InvalidArgument
        When nothing can be called so.
    """
    backbone, variant = split_name(name)
    prefix = _TIMM if backbone.startswith(_TIMM) else ""
    checked = checked_name("backbone", backbone.removeprefix(prefix))
    return prefix.replace("/", "--") + checked + variant.suffix


def name_of(folder: str) -> str:
    """The name of the bundle that lies in `folder`."""
    timm = _TIMM.replace("/", "--")
    return _TIMM + folder.removeprefix(timm) if folder.startswith(timm) else folder


def export_command(name: str) -> str:
    """What makes the bundle called `name`, for a user to type."""
    backbone, variant = split_name(name)
    return f"penultimate export {backbone}{variant.options}"


def _read_part(part: str) -> dict[str, object]:
    if part in get_args(Views):
        return {"views": part}
    if part in get_args(Profile):
        return {"profile": part}
    if size := re.fullmatch(r"([1-9][0-9]{0,5})px", part):
        return {"size": int(size[1])}
    return {"layers": tuple(":".join(cut.rsplit("-", 1)) for cut in part.split("+"))}


def _check_size(size: int | None) -> None:
    if size is not None and not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InvalidArgument(
            f"an input of {size} pixels cannot be: choose {SMALLEST_SIZE} to {LARGEST_SIZE:,}"
        )


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidArgument(f"{value!r} cannot be chosen for {option}: there are {', '.join(choices)}")
