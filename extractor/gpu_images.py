"""JPEGs decoded on an NVIDIA GPU, by nvImageCodec (the extra `gpu-decode`).

Which files it decodes is a rule about the file alone, and so are the pixels:
one of the library's decoders is used and no other, and where it fails, that is
an error. Decoding such a file otherwise would give a vector that is not this
profile's.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from extractor.errors import Unavailable

_BASELINE, _SCAN, _PICTURES, _ADOBE = 0xC0, 0xDA, 0xE2, 0xEE
_OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {0xC4, 0xC8, 0xCC}
_YCBCR = 1
_END = b"\xff\xd9"

_COLOURS = bytes((1, 2, 3))
_LUMA_SAMPLING = (0x11, 0x12, 0x21, 0x22)
_CHROMA_SAMPLING = 0x11


_THREAD = threading.local()
"""Each thread has a decoder: nothing says that several may share one."""


def takes(data: bytes) -> bool:
    """Whether a JPEG is of the kind that the GPU decodes.

    A whole, single, baseline picture of 8 bits: grey, or YCbCr with the usual
    sampling.
    """
    segments = list(_segments(data))
    markers = [marker for marker, _ in segments]
    if not data.endswith(_END) or markers.count(_BASELINE) != 1 or not _OTHER_FRAMES.isdisjoint(markers):
        return False
    return all(_usual(marker, content) for marker, content in segments)


def decoded(data: bytes, image: Image.Image) -> Image.Image:
    """The pixels of a JPEG that `takes` is true of; as the file has them, not turned.

    Parameters
    ----------
    data : bytes
    image : Image
        The same, opened by Pillow and not read yet.

    Returns
    -------
    Image of mode RGB

    Raises
    ------
    Unavailable
        When this machine cannot decode so, or could not now.
    Exception
        Whatever Pillow raises, when it cannot read the picture either.
    """
    decoder, params = _decoder()
    try:
        found = decoder.decode(data, params=params)
        pixels = None if found is None else np.asarray(found.cpu())
    except RuntimeError as error:  # CUDA's, as when its memory is full
        raise Unavailable(f"the GPU could not decode a JPEG: {error}") from error
    if pixels is None or pixels.shape != (image.height, image.width, 3):
        image.load()
        raise Unavailable("the GPU could not decode a JPEG that can be read; its log above may say why")
    return Image.fromarray(pixels)


def prepare() -> None:
    """Find out whether this machine can decode so; Unavailable when not."""
    _decoder()


def _decoder() -> tuple[Any, Any]:
    if not hasattr(_THREAD, "decoder"):
        _THREAD.decoder = _opened()
    opened: tuple[Any, Any] = _THREAD.decoder
    return opened


def _opened() -> tuple[Any, Any]:
    """A decoder and its parameters; by CUDA, since not every card has an engine for it."""
    try:
        from nvidia import nvimgcodec as codec
    except ImportError as error:
        raise Unavailable(
            "this backbone decodes JPEGs on an NVIDIA GPU by nvImageCodec, which is not installed: "
            "pip install '.[gpu-decode]' in penultimate's folder, or take the backbone without that profile"
        ) from error
    try:
        decoder = codec.Decoder(
            max_num_cpu_threads=1,
            backends=[codec.Backend(codec.BackendKind.HYBRID_CPU_GPU)],
            options=":fancy_upsampling=1",  # as Pillow does
        )
    except RuntimeError as error:
        raise Unavailable(
            f"this backbone decodes JPEGs on an NVIDIA GPU, and none can be used here ({error}): take the "
            "backbone without that profile"
        ) from error
    return decoder, codec.DecodeParams(apply_exif_orientation=False, color_spec=codec.ColorSpec.SRGB)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the first scan; ends early where something is odd."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, place)
        if marker == _SCAN:
            return
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def _usual(marker: int, content: bytes) -> bool:
    """Whether a segment is one that every decoder understands alike."""
    if marker == _BASELINE:
        return _usual_frame(content)
    if marker == _ADOBE and content.startswith(b"Adobe"):
        return len(content) >= 12 and content[11] == _YCBCR
    return not (marker == _PICTURES and content.startswith(b"MPF\0"))


def _usual_frame(content: bytes) -> bool:
    """Bits, height, width, number of components; of each its id, its sampling and its table."""
    if len(content) < 9 or content[0] != 8 or len(content) != 6 + 3 * content[5]:
        return False
    ids, samplings = content[6::3], content[7::3]
    if content[5] == 1:
        return True
    return (
        ids == _COLOURS
        and samplings[0] in _LUMA_SAMPLING
        and samplings[1] == samplings[2] == _CHROMA_SAMPLING
    )
