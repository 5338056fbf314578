"""From an image file's bytes to checked uint8 pixels at the backbone's input size.

How any picture becomes RGB: the first frame; turned upright as its EXIF says;
16-bit grey scaled by 1/257; transparency laid on white; everything else
(grey, palette, CMYK, YCbCr) by Pillow's conversion, without colour profiles.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import threading
from contextlib import AbstractContextManager

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from extractor.errors import ImageTooLarge, InvalidImage, UnsupportedFormat
from extractor.preprocessing import Preprocessing
from extractor.settings import Limits

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names of the accepted formats (JPEG holds MPO, several pictures in one file)."""

_REGISTERED = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Importing them enters them into `Image.OPEN`."""

_ACCEPTED = "accepted are JPEG, PNG, WebP, GIF, BMP and TIFF"

# Formats that people do send and that deserve their name in the answer: (offset, bytes, name).
_OTHER_FORMATS = (
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a HEIC picture or a video"),
    (0, b"%PDF", "a PDF"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)"),
    (0, b"\x00\x00\x00\x0cjP", "a JPEG 2000 picture"),
    (0, b"PK\x03\x04", "a zip archive"),
)

_RESAMPLING = {
    "bilinear": ResizeAlg.convolution(FilterType.bilinear),
    "bicubic": ResizeAlg.convolution(FilterType.catmull_rom),
    "lanczos": ResizeAlg.convolution(FilterType.lanczos3),
}
_THREAD = threading.local()

_LARGE_PIXELS = 12_000_000
_LARGE = threading.Lock()

_WIDEST_FILTER = 3
"""Pixels to each side that Lanczos, the widest filter, looks at."""

_WIDE_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode(data: bytes, spec: Preprocessing, limits: Limits | None = None) -> NDArray[np.uint8]:
    """Decode, check, turn upright, resize and crop one image.

    Parameters
    ----------
    data : bytes
        An image file.
    spec : Preprocessing
    limits : Limits, optional

    Returns
    -------
    uint8 array of shape (spec.height, spec.width, 3)
        RGB. Every pixel of the file was read before.

    Raises
    ------
    ImageTooLarge
        Over a limit on bytes or pixels; decided before any pixel is decoded.
    UnsupportedFormat
        A format or kind of pixel that is not accepted.
    InvalidImage
        Anything else that is no whole picture.
    """
    return _to_input(open_upright(data, limits or Limits()), spec)


def open_upright(data: bytes, limits: Limits) -> Image.Image:
    """Open and fully read one image: upright, mode L or RGB; errors as in `decode`."""
    limits.check_bytes(len(data))
    try:
        with _open(data) as image:
            _check_size(image, limits)
            with _one_large(image):
                image.load()
                return _to_grey_or_rgb(_upright(image))
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        raise InvalidImage(f"the picture is damaged or cut short: {error or type(error).__name__}") from error


def _open(data: bytes) -> Image.Image:
    """As `Image.open`, whose own limit on pixels is process-wide, and warns and refuses without a size."""
    for format in FORMATS:
        opener, accepts = Image.OPEN[format]
        if accepts is None or accepts(data[:16]) is True:
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                return opener(io.BytesIO(data), "")
    raise _unidentified(data)


def _one_large(image: Image.Image) -> AbstractContextManager[object]:
    """A large picture takes a gigabyte while it is decoded: one at a time."""
    large = image.width * image.height > _LARGE_PIXELS
    return _LARGE if large else contextlib.nullcontext()


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.image_pixels:
        raise ImageTooLarge(
            f"the picture has {width} x {height} pixels; at most {limits.image_pixels:,} in all are "
            "accepted: make it smaller"
        )
    if min(width, height) < limits.min_side:
        raise InvalidImage(
            f"the picture has {width} x {height} pixels; each side needs at least {limits.min_side}"
        )


def _unidentified(data: bytes) -> InvalidImage:
    if not data:
        return InvalidImage("the file is empty (0 bytes)")
    for offset, mark, name in _OTHER_FORMATS:
        if data.startswith(mark, offset):
            return UnsupportedFormat(f"this is {name}; {_ACCEPTED}: convert it first")
    if data.startswith((b"II*\0", b"MM\0*")):
        return UnsupportedFormat(
            "this TIFF holds a kind of pixel that cannot be read, or is damaged: save it as 8-bit RGB"
        )
    return InvalidImage(f"not a picture: its first bytes are {data[:8]!r}; {_ACCEPTED}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Grey stays one channel: resizing it once gives the same pixels as resizing it three times."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in _WIDE_GREY:
        return _narrowed(image)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode in ("F", "LAB"):
        raise UnsupportedFormat(
            f"pixels of kind {image.mode!r} have no defined range in RGB: save it as 8-bit RGB"
        )
    return image.convert("L" if image.mode == "1" else "RGB")


def _narrowed(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnsupportedFormat(
            f"pixel values from {values.min()} to {values.max()} fit no 16-bit picture: save it as 8-bit RGB"
        )
    narrow = np.empty(values.shape, np.uint8)
    for row, wide in zip(narrow, values, strict=True):  # row by row, for the sake of memory
        row[:] = (wide.astype(np.int32) + 128) // 257
    return Image.fromarray(narrow)


def _on_white(image: Image.Image) -> Image.Image:
    picture = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _to_input(image: Image.Image, spec: Preprocessing) -> NDArray[np.uint8]:
    """Resize the shorter side and crop the centre, computing only the pixels that remain.

    Two passes with 8-bit values between them, in the order in which Pillow
    resizes a whole picture: the order decides how the values are rounded.
    """
    width, height = spec.width, spec.height
    resized = _resized_size(image.size, spec.resize_shorter)
    left, top, right, bottom = _crop_box(image.size, resized, (width, height))
    if _down_first(image.size, resized):
        first, last = _reach(left, right, image.width, resized[0])
        part = _resized(image, (last - first, height), (first, top, last, bottom), spec)
        part = _resized(part, (width, height), (left - first, 0, right - first, height), spec)
    else:
        first, last = _reach(top, bottom, image.height, resized[1])
        part = _resized(image, (width, last - first), (left, first, right, last), spec)
        part = _resized(part, (width, height), (0, top - first, width, bottom - first), spec)
    return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))


def _resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float], spec: Preprocessing
) -> Image.Image:
    """`Image.resize` with a box, by the processor's vector instructions: 0.2 ms of a photo's 1.1, not 0.8."""
    left, top, right, bottom = box
    result = Image.new(image.mode, size, None)  # every pixel is written below
    crop = CropBox(left, top, right - left, bottom - top)
    if not hasattr(_THREAD, "resizer"):
        _THREAD.resizer = Resizer()  # has buffers of its own: not for several threads
    _THREAD.resizer.resize_pil(image, result, ResizeOptions(_RESAMPLING[spec.interpolation], False, crop))
    return result


def _reach(low: float, high: float, length: int, resized: int) -> tuple[int, int]:
    """The pixels of a side that matter to its stretch from `low` to `high`: first, and last plus one."""
    margin = math.ceil(_WIDEST_FILTER * max(1.0, length / resized)) + 1
    return max(0, math.floor(low) - margin), min(length, math.ceil(high) + margin)


def _down_first(size: tuple[int, int], resized: tuple[int, int]) -> bool:
    """Pillow's rule: down first when the height shrinks more than twice as much."""
    narrower, lower = size[0] - resized[0], size[1] - resized[1]
    return lower > 0 and lower > 2 * narrower


def _resized_size(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height after the resize, rounded down as torchvision does."""
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def _crop_box(
    size: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The centre crop of the resized picture, in coordinates of the original one."""
    left, top = (round((full - part) / 2.0) for full, part in zip(resized, crop, strict=True))
    across, down = (original / full for original, full in zip(size, resized, strict=True))
    return left * across, top * down, (left + crop[0]) * across, (top + crop[1]) * down
