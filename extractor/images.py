"""From an image file's bytes to checked uint8 pixels at the backbone's input size.

How any picture becomes RGB: the first frame; turned upright as its EXIF says;
16-bit grey scaled by 1/257; transparency laid on white; everything else
(grey, palette, CMYK, YCbCr) by Pillow's conversion, without colour profiles.

`Preprocessing.decode` says how pixels are read: "exact", every one of them;
"fast", a JPEG that is much larger than needed at a reduced scale; "gpu", a
usual JPEG by a GPU's decoder.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from extractor import gpu_images
from extractor.errors import ImageTooLarge, InvalidImage, PenultimateError, UnsupportedFormat
from extractor.preprocessing import Preprocessing
from extractor.resizing import Frame, Size, to_input
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

_SPARE = 2
"""How many times the pixels of the resized side a JPEG keeps at a reduced scale.

With once, the smallest cosine to the exact vectors fell from 0.986 to 0.966.
"""

# By the EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS, _FROM_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
_ORIENTED = frozenset(("exif", "xmp"))
"""What a JPEG's orientation can stand in."""

_LARGE_PIXELS = 12_000_000
_LARGE = threading.Lock()
_TOGETHER = contextlib.nullcontext()

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
    Unavailable
        When this machine cannot decode as `spec` says.
    """
    image, frame = _read(data, limits or Limits(), spec)
    return to_input(image, frame, spec)


def prepare(spec: Preprocessing) -> None:
    """Find out whether this machine can decode as `spec` says; Unavailable when not."""
    if spec.decode == "gpu":
        gpu_images.prepare()


def open_upright(data: bytes, limits: Limits) -> Image.Image:
    """Open and fully read one image: upright, mode L or RGB; errors as in `decode`."""
    return _read(data, limits)[0]


class Header(NamedTuple):
    """What a file says of its picture before any pixel is decoded.

    Attributes
    ----------
    width, height : int
        Pixels of the picture when it is upright.
    format : str
        One of `FORMATS`.
    """

    width: int
    height: int
    format: str


def read_header(data: bytes, limits: Limits) -> Header:
    """Size and format of one image, in microseconds; errors as in `decode`, but pixels may be damaged."""
    limits.check_bytes(len(data))
    try:
        with _open(data) as image:
            _check_size(image, limits)
            width, height = image.size
            if _orientation(image) in _SIDEWAYS:
                width, height = height, width
            format = "JPEG" if image.format == "MPO" else str(image.format)
            return Header(width, height, format)
    except PenultimateError:
        raise
    except Exception as error:  # as below
        raise InvalidImage(f"the picture is damaged or cut short: {error or type(error).__name__}") from error


def open_small(data: bytes, header: Header, side: int, limits: Limits) -> Image.Image:
    """As `open_upright`; of a JPEG only as many pixels are computed as a longer side of `side` needs."""
    shorter, longer = sorted(header[:2])
    # The shorter one's pixels are asked of both sides, since a file may lie on its side.
    return _read(data, limits, least=max(1, side * shorter // longer))[0]


def _read(
    data: bytes, limits: Limits, spec: Preprocessing | None = None, least: int = 0
) -> tuple[Image.Image, Frame]:
    """The image, upright, mode L or RGB, and where in it the picture is; `least` pixels a side will do."""
    limits.check_bytes(len(data))
    try:
        with _open(data) as image:
            _check_size(image, limits)
            size = image.size
            least = _SPARE * max(spec.box) if spec and spec.decode == "fast" else least
            extent = _reduced(image, least) if least else size
            with _one_large(image, size):
                pixels = _pixels(data, image, spec)
                orientation = _orientation(image)
                upright = pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels
                return _to_grey_or_rgb(upright), _frame(upright.size, extent, orientation)
    except PenultimateError:
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        raise InvalidImage(f"the picture is damaged or cut short: {error or type(error).__name__}") from error


def _open(data: bytes) -> Image.Image:
    """As `Image.open`, whose own limit on pixels is process-wide, and warns and refuses without a size."""
    for format in FORMATS:
        opener, accepts = Image.OPEN[format]
        if accepts is None or accepts(data[:16]) is True:
            try:
                return opener(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise _unidentified(data)


def _pixels(data: bytes, image: Image.Image, spec: Preprocessing | None) -> Image.Image:
    if spec and spec.decode == "gpu" and image.format == "JPEG" and gpu_images.takes(data):
        return gpu_images.decoded(data, image)
    image.load()
    return image


def _reduced(image: Image.Image, least: int) -> Size:
    """Have a large JPEG decoded at the scale 1/2, 1/4 or 1/8; the picture's size in pixels of that."""
    drafted = image.draft(None, (least, least))
    return drafted[1][2:] if drafted else image.size


def _one_large(image: Image.Image, size: tuple[int, int]) -> AbstractContextManager[object]:
    """A large picture takes a gigabyte while it is decoded: one at a time.

    Of `size` pixels, or fewer at a reduced scale, unless it is progressive: then it is held whole.
    """
    width, height = size if "progressive" in image.info else image.size
    return _LARGE if width * height > _LARGE_PIXELS else _TOGETHER


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


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; 1, which is upright, when there is none."""
    if image.format == "JPEG" and not image.info.keys() & _ORIENTED:
        return 1
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF says nothing about the pixels
        return 1


def _frame(size: Size, extent: Size, orientation: object) -> Frame:
    """Where a picture is in its image once that is turned: pixels at a reduced scale reach over its end."""
    width, height = extent[::-1] if orientation in _SIDEWAYS else extent
    left = size[0] - width if orientation in _FROM_RIGHT else 0
    top = size[1] - height if orientation in _FROM_BELOW else 0
    return Frame(left, top, width, height)


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
