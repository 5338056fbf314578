"""Thumbnails and facts of pictures: quick, upright, and never an error."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extractor.collections.pictures import look_at
from extractor.images import open_upright
from extractor.settings import Limits


def small(data: bytes, side: int) -> Image.Image:
    return Image.open(io.BytesIO(look_at(data, side).thumbnail))


def test_every_kind_of_picture_has_a_thumbnail(pictures: list[Path]) -> None:
    """Of the whole picture, at most so large, as large as it says, and like the picture itself."""
    for path in pictures:
        data = path.read_bytes()
        whole = open_upright(data, Limits())
        facts, _ = look_at(data, 64)
        assert (facts["width"], facts["height"]) == whole.size, path
        thumbnail = small(data, 64)
        assert min(48, *[max(whole.size)]) <= max(thumbnail.size) <= 64, path
        judged = np.asarray(whole.convert("RGB").resize(thumbnail.size, Image.Resampling.BOX), float)
        assert np.abs(np.asarray(thumbnail.convert("RGB"), float) - judged).mean() < 12, path


def test_a_picture_on_its_side_is_turned() -> None:
    """Facts and thumbnail are those of the upright one, also at a reduced scale."""
    lying = Image.new("RGB", (800, 400), "blue")
    lying.paste("red", (0, 0, 400, 400))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    lying.save(stream, "JPEG", exif=exif)
    facts, _ = look_at(stream.getvalue(), 100)
    assert facts == {"width": 400, "height": 800, "format": "JPEG"}
    thumbnail = small(stream.getvalue(), 100)
    assert thumbnail.size == (50, 100)
    red, _, blue = thumbnail.getpixel((25, 10))
    assert red > 200 > 50 > blue


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_what_is_no_picture_has_neither(data: bytes) -> None:
    """The embedder says what is wrong with it."""
    assert look_at(data, 64) == ({}, b"")


def test_without_thumbnails_only_the_header_is_read() -> None:
    """A file that is cut short behind it has its facts all the same."""
    stream = io.BytesIO()
    Image.effect_noise((300, 200), 50).convert("RGB").save(stream, "JPEG")
    assert look_at(stream.getvalue()[:2000], 0) == ({"width": 300, "height": 200, "format": "JPEG"}, b"")
