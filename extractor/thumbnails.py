"""Small pictures to be kept and shown."""

from __future__ import annotations

import io

from extractor.errors import PenultimateError
from extractor.images import open_upright
from extractor.settings import Limits

_QUALITY = 80


def thumbnail(image: bytes, side: int, limits: Limits | None = None) -> bytes:
    """A JPEG of an image file, upright, whose longer side is at most `side` pixels; empty for no image."""
    if not image:
        return b""
    try:
        picture = open_upright(image, limits or Limits()).convert("RGB")
    except PenultimateError:
        return b""
    picture.thumbnail((side, side), reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
