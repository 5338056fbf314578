"""Augmented views of pictures, which a head is fitted on beside the pictures themselves.

A view is an image file of its own, made of the upright picture: it goes the way
of every image, and is remembered by its own digest. It belongs to its picture
like a further column: what counts, splits and tests rows never sees it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from PIL import Image

from classifiers.data.features import Features, Progress
from extractor import sources
from extractor.errors import FingerprintMismatch, InvalidArgument, PenultimateError
from extractor.images import open_upright
from extractor.results import Embeds
from extractor.settings import Limits

AUGMENTATIONS = {
    "hflip": ("hflip",),
    "vflip": ("vflip",),
    "flips": ("hflip", "vflip", "turned-180"),
    "rotations": ("turned-90", "turned-180", "turned-270"),
    "crops": ("top-left", "top-right", "bottom-left", "bottom-right"),
    "brightness": ("darker", "brighter"),
}
"""What may be asked for, and the views of a picture that each stands for."""

SIDE = 768
"""Pixels of a view's shorter side at most; more than the backbones take."""

CROP = 0.9
"""Of each side, that a crop at a corner keeps."""

BRIGHTNESS = 0.8, 1.25
"""What the darker and the brighter view multiply each channel with."""

_View: TypeAlias = "Callable[[Image.Image], Image.Image]"


def _turned(how: Image.Transpose) -> _View:
    return lambda picture: picture.transpose(how)


def _cropped(right: int, below: int) -> _View:
    """At the corner that is `right`, or not, and `below`, or not."""

    def cut(picture: Image.Image) -> Image.Image:
        width, height = (max(1, round(CROP * side)) for side in picture.size)
        left, top = right * (picture.width - width), below * (picture.height - height)
        return picture.crop((left, top, left + width, top + height))

    return cut


def _lit(factor: float) -> _View:
    table = [min(255, round(factor * value)) for value in range(256)]
    return lambda picture: picture.point(table * len(picture.getbands()))


_VIEWS: dict[str, _View] = {
    "hflip": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "vflip": _turned(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned-90": _turned(Image.Transpose.ROTATE_90),
    "turned-180": _turned(Image.Transpose.ROTATE_180),
    "turned-270": _turned(Image.Transpose.ROTATE_270),
    "top-left": _cropped(0, 0),
    "top-right": _cropped(1, 0),
    "bottom-left": _cropped(0, 1),
    "bottom-right": _cropped(1, 1),
    "darker": _lit(BRIGHTNESS[0]),
    "brighter": _lit(BRIGHTNESS[1]),
}


def views_of(augment: Sequence[str]) -> tuple[str, ...]:
    """The names of the views that augmentations stand for together, each once.

    Raises
    ------
    InvalidArgument
        When there is no augmentation of a name.
    """
    for name in augment:
        if name not in AUGMENTATIONS:
            raise InvalidArgument(f"{name!r} is no augmentation: choose of {', '.join(AUGMENTATIONS)}")
    return tuple(dict.fromkeys(view for name in augment for view in AUGMENTATIONS[name]))


def with_views(
    source: Embeds, features: Features, augment: Sequence[str], progress: Progress = iter
) -> Features:
    """The same rows, each with the embeddings of its picture's views.

    A row whose picture is not at hand any more, as the file that was embedded,
    or one of whose views cannot be embedded, has none: NaN stands for them.

    Parameters
    ----------
    source : Embeds
        Of the backbone that made the rows.
    features : Features
    augment : sequence of str
        Of `AUGMENTATIONS`.
    progress : callable
        Wraps the results as they come, as `tqdm` does.

    Raises
    ------
    InvalidArgument
        When there is no such augmentation, or no row whose picture is at hand.
    FingerprintMismatch
        When another backbone made the rows.
    """
    names = views_of(augment)
    if source.fingerprint != features.fingerprint:
        raise FingerprintMismatch("the vectors to augment", source.fingerprint, features.fingerprint)
    if not names:
        return features
    views = np.full((len(features.images), len(names), source.dim), np.nan, np.float32)
    rows: list[int] = []
    for number, result in enumerate(progress(source.stream(_drawn(features, names, rows)))):
        if result.embedding is not None:
            views[rows[number // len(names)], number % len(names)] = result.embedding
    views[np.isnan(views).any(axis=(1, 2))] = np.nan
    if np.isnan(views).all():
        raise InvalidArgument(
            "augmented views are made of pictures, and none of these is at hand as the file that was "
            f"embedded (the first: {features.images[0]}): name the folder or table of the pictures"
        )
    return replace(features, augment=tuple(augment), views=views)


def _drawn(features: Features, names: Sequence[str], rows: list[int]) -> Iterator[bytes]:
    """The views of every picture that is at hand, as image files; `rows` gets the row of each picture."""
    for row, (image, digest) in enumerate(zip(features.images, features.digests.tolist(), strict=True)):
        try:
            picture = _picture(image, digest)
        except PenultimateError:
            continue
        if picture is not None:
            rows.append(row)
            for name in names:
                yield _written(_VIEWS[name](picture))


def _picture(image: str, digest: str) -> Image.Image | None:
    """Upright and of a moderate size; None when the file is another than the one that was embedded."""
    limits = Limits()
    data = sources.read(image, limits)
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    picture = open_upright(data, limits)
    scale = SIDE / min(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(scale * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _written(picture: Image.Image) -> bytes:
    """As BMP, whose bytes are the pixels, with any version of any library: views are remembered by them."""
    stream = io.BytesIO()
    picture.save(stream, "BMP")
    return stream.getvalue()
