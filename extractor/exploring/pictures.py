"""The picture of an item: its thumbnail in the store, else its file."""

from __future__ import annotations

import io
from typing import Protocol

from PIL import Image

from extractor import sources
from extractor.collections.item import FileStamp
from extractor.errors import PenultimateError
from extractor.images import open_upright
from extractor.settings import Limits


class Known(Protocol):
    """What is known of an item."""

    @property
    def file(self) -> FileStamp | None: ...  # noqa: D102


class Album(Protocol):
    """Where pictures are looked for: an `extractor.collections.Collection`, or what looks like one."""

    def thumbnail(self, id: str) -> bytes | None: ...  # noqa: D102

    def known(self, id: str) -> Known | None: ...  # noqa: D102


def picture_of(album: Album, id: str) -> bytes | str | None:
    """A JPEG, or the path of the file it was made from; None when there is neither."""
    if small := album.thumbnail(id):
        return small
    known = album.known(id)
    return known.file.source if known and known.file else None


def small_jpeg(picture: bytes | str | None, side: int) -> bytes | None:
    """A picture as a JPEG of at most `side` pixels each way; None when it cannot be read."""
    if picture is None:
        return None
    try:
        image = open_upright(sources.read(picture), Limits()).convert("RGB")
    except PenultimateError:
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80, optimize=True)
    return stream.getvalue()
