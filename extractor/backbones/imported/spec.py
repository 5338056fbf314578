"""What a user says of their own ONNX file: `spec.toml`, read and checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from extractor.errors import InvalidArgument, NotFound
from extractor.preprocessing import Preprocessing, Resize
from extractor.settings import checked_name

_UNITS = {"0..1": 1.0, "0..255": 255.0}
_INTERPOLATIONS = get_args(get_type_hints(Preprocessing)["interpolation"])
_SMALLEST, _LARGEST = 8, 4096

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Spec:
    """How pictures must reach a network, and where its embedding is.

    Attributes
    ----------
    name : str or None
        What the backbone shall be called.
    layout : {"nchw", "nhwc"}
        Order of the input's axes, and of a map of features at the output.
    dtype : {"float32", "uint8"}
        Of the input; uint8 for a network that normalises by itself.
    channels : {"rgb", "bgr"}
        Their order at the input.
    preprocessing : Preprocessing
        Mean and deviation are those of red, green and blue, in this order.
    output : str or None
        The tensor that is the embedding; None for the only output.
    pooling : {"none", "avg", "cls"}
        What makes one vector of it: nothing is to be done, the mean over the
        places, or the first token.
    licence, source : str
        Of the weights, for people to read.
    """

    name: str | None
    layout: Literal["nchw", "nhwc"]
    dtype: Literal["float32", "uint8"]
    channels: Literal["rgb", "bgr"]
    preprocessing: Preprocessing
    output: str | None
    pooling: Literal["none", "avg", "cls"]
    licence: str
    source: str

    @classmethod
    def read(cls, file: Path) -> Spec:
        """Read and check `file`.

        Raises
        ------
        NotFound
            When there is no such file.
        InvalidArgument
            For what is no TOML, a key that is unknown or missing, or a value
            that cannot be; one sentence, with the value.
        """
        try:
            return _spec(_checked(_table(file)))
        except _Mistake as mistake:
            raise InvalidArgument(f"{file}: {mistake}") from None


class _Mistake(Exception):
    """What is wrong with a spec, without the name of its file."""


class _Key(NamedTuple):
    """What a key's value must be, to test and to say."""

    fits: Callable[[Any], bool]
    expected: str
    usual: Any = None
    """The value of a key that is left out; a key without one is needed."""


def _one_of(choices: tuple[str, ...], usual: str | None = None) -> _Key:
    return _Key(
        lambda value: value in choices, "one of " + ", ".join(f'"{choice}"' for choice in choices), usual
    )


def _is_side(value: Any) -> bool:
    return type(value) is int and _SMALLEST <= value <= _LARGEST


def _is_size(value: Any) -> bool:
    pair = value if isinstance(value, list) else [value, value]
    return len(pair) == 2 and all(map(_is_side, pair))


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(one) in (int, float) for one in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_TEXT = _Key(_is_text, "some text")
_PIXELS = f"a number of pixels from {_SMALLEST} to {_LARGEST}"
_KEYS = {
    "name": _Key(_is_text, "some text", usual=""),
    "layout": _one_of(("nchw", "nhwc")),
    "dtype": _one_of(("float32", "uint8"), "float32"),
    "channels": _one_of(("rgb", "bgr"), "rgb"),
    "size": _Key(_is_size, f"{_PIXELS}, or [height, width]"),
    "resize": _one_of(get_args(Resize), "shorter"),
    "resize_shorter": _Key(_is_side, _PIXELS),
    "interpolation": _one_of(_INTERPOLATIONS),
    "units": _one_of(tuple(_UNITS), ""),
    "mean": _Key(_is_triple, "three numbers, one for each channel", usual=[]),
    "std": _Key(_is_triple, "three numbers, one for each channel", usual=[]),
    "output": _Key(_is_text, "the name of a tensor", usual=""),
    "pooling": _one_of(("none", "avg", "cls"), "none"),
    "licence": _TEXT,
    "source": _TEXT,
}
_NORMALISATION = ("units", "mean", "std")


def _table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"the spec {file} cannot be read: {error}") from error


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    """A value for every key; the usual one where nothing was said."""
    for key, value in said.items():
        if key not in _KEYS:
            raise _Mistake(f"there is no key {key!r}; there are {', '.join(_KEYS)}")
        if not _KEYS[key].fits(value):
            raise _Mistake(f"{key} = {value!r} cannot be: it must be {_KEYS[key].expected}")
    for key, rule in _KEYS.items():
        if key not in said and rule.usual is None:
            raise _Mistake(f"the key {key} is missing: it must be {rule.expected}")
    return {key: said.get(key, rule.usual) for key, rule in _KEYS.items()}


def _spec(facts: dict[str, Any]) -> Spec:
    return Spec(
        name=checked_name("backbone", facts["name"]) if facts["name"] else None,
        preprocessing=_preprocessing(facts),
        output=facts["output"] or None,
        **{key: facts[key] for key in ("layout", "dtype", "channels", "pooling", "licence", "source")},
    )


def _preprocessing(facts: dict[str, Any]) -> Preprocessing:
    size, shorter = facts["size"], facts["resize_shorter"]
    height, width = size if isinstance(size, list) else (size, size)
    if shorter < max(height, width):
        raise _Mistake(
            f"resize_shorter = {shorter} cannot be: the crop of {height} x {width} pixels would go beyond "
            "the picture"
        )
    mean, std = _normalisation(facts)
    if facts["channels"] == "bgr":
        mean, std = mean[::-1], std[::-1]
    return Preprocessing(height, width, shorter, facts["interpolation"], mean, std, resize=facts["resize"])


def _normalisation(facts: dict[str, Any]) -> tuple[Triple, Triple]:
    """Mean and deviation in units of the 0..1 range, in the network's order of channels."""
    if facts["dtype"] == "uint8":
        if said := [key for key in _NORMALISATION if facts[key]]:
            raise _Mistake(
                f"{said[0]} = {facts[said[0]]!r} cannot be: a network that takes uint8 normalises by itself"
            )
        return (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
    if absent := [key for key in _NORMALISATION if not facts[key]]:
        raise _Mistake(f"the key {absent[0]} is missing: a network that takes float32 needs it")
    return _scaled(facts, "mean"), _scaled(facts, "std")


def _scaled(facts: dict[str, Any], key: str) -> Triple:
    top = _UNITS[facts["units"]]
    for value in facts[key]:
        if not 0 <= value <= top or (key == "std" and value == 0) or not math.isfinite(value):
            span = f"{'above' if key == 'std' else 'from'} 0, at most {top:g}"
            raise _Mistake(f"{key} = {facts[key]!r} cannot be: in the units {facts['units']} it is {span}")
    red, green, blue = (value / top for value in facts[key])
    return red, green, blue
