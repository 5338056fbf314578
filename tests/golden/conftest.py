"""Pictures for whole pipelines."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photos(pictures: list[Path]) -> list[bytes]:
    """Real pictures, as they are and in other sizes, shapes, formats and modes."""
    photos = [file.read_bytes() for file in pictures if file.stem not in {"logo", "horse"}]  # transparent
    return photos + odd_ones(pictures)


@pytest.fixture(scope="session")
def odd_photos(pictures: list[Path]) -> list[bytes]:
    """Those of them that are not as they were taken."""
    return odd_ones(pictures)


def odd_ones(pictures: list[Path]) -> list[bytes]:
    photos: list[bytes] = []
    rng = np.random.default_rng(3)
    for name in ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"):
        with Image.open(next(file for file in pictures if file.name == name)) as image:
            for format, mode in (
                ("JPEG", "RGB"),
                ("WEBP", "RGB"),
                ("PNG", "P"),
                ("JPEG", "CMYK"),
                ("BMP", "L"),
            ):
                size = tuple(int(side) for side in rng.integers(60, 900, 2))
                stream = io.BytesIO()
                image.convert("RGB").resize(size).convert(mode).save(stream, format)
                photos.append(stream.getvalue())
    return photos
