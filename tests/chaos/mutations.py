"""Damaged image files: real ones of every accepted format, cut, garbled, spliced with each other."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

Mutation = Callable[[bytes], bytes]


def _saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def _seeds() -> list[bytes]:
    """Small files that lead decoders into as many of their branches as may be."""
    pixels = np.random.default_rng(1).integers(0, 256, (12, 16, 4), np.uint8)
    rgba = Image.fromarray(pixels)
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").convert("P")
    wide = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        _saved(rgb, "JPEG", exif=turned),
        _saved(rgb, "JPEG", progressive=True),
        _saved(rgb.convert("CMYK"), "JPEG"),
        _saved(rgb, "MPO", save_all=True, append_images=[grey.convert("RGB")]),
        *(_saved(image, "PNG") for image in (rgba, grey, palette, wide, grey.convert("1"))),
        *(_saved(rgba, "WEBP", lossless=lossless) for lossless in (True, False)),
        _saved(palette, "GIF", save_all=True, append_images=[grey.convert("P")], transparency=0),
        *(_saved(image, "BMP") for image in (rgb, rgba, palette, grey.convert("1"))),
        *(
            _saved(rgb, "TIFF", compression=way)
            for way in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")
        ),
        _saved(wide, "TIFF", big_tiff=True),
        _saved(grey.convert("1"), "TIFF", compression="group4"),
    ]


SEEDS = _seeds()
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PLACES = st.floats(0, 1, exclude_max=True)
"""Where in a file, as a part of its length."""


def _cut(place: float) -> Mutation:
    return lambda data: data[: int(place * len(data))]


def _set(place: float, value: bytes) -> Mutation:
    def mutate(data: bytes) -> bytes:
        start = int(place * len(data))
        return data[:start] + value + data[start + len(value) :]

    return mutate


def _insert(place: float, value: bytes) -> Mutation:
    return lambda data: data[: int(place * len(data))] + value + data[int(place * len(data)) :]


def _remove(place: float, length: int) -> Mutation:
    return lambda data: data[: int(place * len(data))] + data[int(place * len(data)) + length :]


def _splice(place: float, other: bytes, from_place: float) -> Mutation:
    return lambda data: data[: int(place * len(data))] + other[int(from_place * len(other)) :]


_numbers = st.builds(struct.pack, st.sampled_from([">I", "<I"]), st.sampled_from(_NUMBERS))
_mutations = st.one_of(
    st.builds(_cut, _PLACES),
    st.builds(_set, _PLACES, st.binary(min_size=1, max_size=4) | _numbers),
    st.builds(_set, st.floats(0, 0.1), _numbers),  # sizes and offsets are in headers
    st.builds(_insert, _PLACES, st.binary(min_size=1, max_size=64)),
    st.builds(_remove, _PLACES, st.integers(1, 64)),
    st.builds(_splice, _PLACES, st.sampled_from(SEEDS), _PLACES),
)


def _mutated(data: bytes, mutations: list[Mutation]) -> bytes:
    for mutate in mutations:
        data = mutate(data)
    return data


damaged_files = st.builds(
    _mutated, st.sampled_from(SEEDS), st.lists(_mutations, min_size=1, max_size=4)
) | st.builds(bytes.__add__, st.sampled_from([seed[:16] for seed in SEEDS]), st.binary(max_size=200))
"""What was a picture, or begins as one."""
