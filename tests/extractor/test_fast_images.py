"""A large JPEG is decoded at a reduced scale: nearly the same pixels, the very same errors."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from extractor import images
from extractor.errors import InvalidImage
from extractor.images import decode
from extractor.preprocessing import Preprocessing
from extractor.settings import Limits

EXACT = Preprocessing(224, 224, 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
FAST = replace(EXACT, decode="fast")
FOLDER = Path(skimage.__file__).parent / "data"


def encoded(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A real picture of that size."""
    with Image.open(FOLDER / "coffee.png") as image:
        return image.convert("RGB").resize((width, height)).convert(mode)


def waves(width: int, height: int) -> Image.Image:
    """Sixteen waves across and down the picture's centre: a pixel's shift changes values by dozens."""
    across, down = (np.sin(np.arange(side) / min(width, height) * 32 * np.pi) for side in (width, height))
    return Image.fromarray((128 + 60 * (across[np.newaxis, :] + down[:, np.newaxis])).astype(np.uint8))


def mean_difference(data: bytes) -> float:
    return float(np.abs(decode(data, FAST).astype(int) - decode(data, EXACT)).mean())


def read_at(image: Image.Image) -> tuple[int, int]:
    """The size in which the fast profile has a picture's pixels."""
    return images._read(encoded(image), Limits(), FAST)[0].size


@pytest.mark.parametrize(
    ("size", "read"),
    [
        ((1023, 1500), (1023, 1500)),
        ((1024, 1500), (512, 750)),
        ((2047, 2047), (1024, 1024)),
        ((2049, 3001), (513, 751)),
        ((4096, 4100), (512, 513)),
    ],
)
def test_at_least_twice_the_resized_side_is_kept(size: tuple[int, int], read: tuple[int, int]) -> None:
    """Halved, quartered or divided by eight, as long as the shorter side has 512 pixels for 256."""
    assert read_at(Image.new("L", size)) == read


@pytest.mark.parametrize("file", ["astronaut.png", "camera.png", "coffee.png", "rocket.jpg"])
def test_what_is_not_much_larger_than_needed_is_exact(file: str) -> None:
    """Pixel for pixel, whether it is a JPEG or not."""
    data = (FOLDER / file).read_bytes()
    with Image.open(FOLDER / file) as image:
        for form in (data, encoded(image.convert("RGB"))):
            np.testing.assert_array_equal(decode(form, FAST), decode(form, EXACT))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats_are_exact_at_any_size(format: str) -> None:
    """Only JPEG has scales to choose from."""
    data = encoded(photo(1100, 1050), format)
    np.testing.assert_array_equal(decode(data, FAST), decode(data, EXACT))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_reduced_photo_looks_the_same(mode: str, progressive: bool) -> None:
    """In every mode: other pixels, on average by less than one in 255."""
    data = encoded(photo(2101, 1401, mode), progressive=progressive)
    assert 0 < mean_difference(data) < 1


@settings(deadline=None, max_examples=15)
@example(2047, 1399, 1)
@example(1399, 2047, 7)
@given(st.integers(1024, 2300), st.integers(1024, 2300), st.integers(1, 8))
def test_nothing_is_shifted(width: int, height: int, orientation: int) -> None:
    """Sides that the scale does not divide, and turned pictures, show the same part of the scene."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(waves(width, height), quality=95, exif=exif.tobytes())
    assert mean_difference(data) < 0.5


def test_a_large_photo_that_is_cut_short_has_the_same_error() -> None:
    """Every byte of the file is still read."""
    whole = encoded(photo(1600, 1200))
    for part in (whole[: len(whole) // 2], whole[:-200]):
        errors = []
        for spec in (EXACT, FAST):
            with pytest.raises(InvalidImage) as caught:
                decode(part, spec)
            errors.append(str(caught.value))
        assert errors[0] == errors[1]


def test_the_limits_are_on_the_picture_as_it_was_sent() -> None:
    """A reduced scale lets no larger picture in."""
    with pytest.raises(InvalidImage, match="1600 x 1200 pixels; at most 1,900,000"):
        decode(encoded(photo(1600, 1200)), FAST, Limits(image_pixels=1_900_000))


@pytest.mark.parametrize(
    ("spec", "progressive", "alone"),
    [(EXACT, False, True), (EXACT, True, True), (FAST, False, False), (FAST, True, True)],
)
def test_only_what_takes_much_memory_is_decoded_alone(
    spec: Preprocessing, progressive: bool, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reduced picture takes little, but for a progressive one, all of whose coefficients are held."""
    taken: list[AbstractContextManager[object]] = []

    class Lock(nullcontext[None]):
        def __enter__(self) -> None:
            taken.append(self)

    monkeypatch.setattr(images, "_LARGE", Lock())
    monkeypatch.setattr(images, "_LARGE_PIXELS", 1_000_000)
    decode(encoded(photo(1600, 1200), progressive=progressive), spec)
    assert bool(taken) == alone
