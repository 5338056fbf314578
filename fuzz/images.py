"""Image files: pixels of the right shape, or an error that is the caller's."""

from __future__ import annotations

import warnings
from contextlib import suppress

import atheris

with atheris.instrument_imports():
    from extractor import images  # and with it Pillow's readers, which show how far a file led
    from extractor.errors import InvalidImage
    from extractor.preprocessing import Preprocessing
    from extractor.settings import Limits

from fuzz.engine import run
from tests.chaos.mutations import SEEDS

SPEC = Preprocessing(
    height=32, width=32, resize_shorter=36, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1)
)
LIMITS = Limits(image_pixels=10**6)  # so that an input takes no seconds


def decode(data: bytes) -> None:
    with suppress(InvalidImage):
        assert images.decode(data, SPEC, LIMITS).shape == (32, 32, 3)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow warns of much that it can read
    run("images", decode, SEEDS)
