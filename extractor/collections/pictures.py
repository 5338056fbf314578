"""What a collection keeps of a picture beside its vector: its size and format, and a thumbnail."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from extractor.collections.metadata import Json
from extractor.errors import PenultimateError
from extractor.images import Header, open_small, read_header
from extractor.settings import Limits

_LEAST = 3 / 4
"""A JPEG that gives this share of a thumbnail's side at a reduced scale is not decoded at a larger one."""

_QUALITY = 80


class Picture(NamedTuple):
    """What was seen in one image file.

    Attributes
    ----------
    facts : dict
        `width` and `height` in pixels when it is upright, and `format`; empty for what is no picture.
    thumbnail : bytes
        A JPEG; empty for none.
    """

    facts: dict[str, Json]
    thumbnail: bytes


NO_PICTURE = Picture({}, b"")


def look_at(data: bytes, side: int, limits: Limits | None = None) -> Picture:
    """Read size and format of an image file, and make its thumbnail.

    What cannot be decoded has none: the embedder is who says what is wrong
    with an image.

    Parameters
    ----------
    data : bytes
        An image file.
    side : int
        Pixels of the thumbnail's longer side at most; 0 for no thumbnail.
    limits : Limits, optional
    """
    limits = limits or Limits()
    try:
        header = read_header(data, limits)
        facts: dict[str, Json] = dict(header._asdict())
        return Picture(facts, thumbnail(data, header, side, limits) if side else b"")
    except PenultimateError:
        return NO_PICTURE


def thumbnail(data: bytes, header: Header, side: int, limits: Limits) -> bytes:
    """A JPEG of the whole picture, upright, of at most `side` pixels a side; errors as in `decode`."""
    picture = open_small(data, header, max(1, round(_LEAST * side)), limits)
    longer = max(picture.size)
    if longer > side:
        width, height = (max(1, round(extent * side / longer)) for extent in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
