"""From what a user names (paths, globs, bytes, pictures in memory) to image files' bytes."""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from extractor.errors import InvalidArgument, InvalidImage, NotFound, UnreadableFile
from extractor.results import ImageLike
from extractor.settings import Limits

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""What counts as an image when a folder is searched; a file named on its own is always tried."""

_TIFF_MODES = frozenset({"CMYK", "YCbCr", "LAB", "F"})
"""Pillow's pixel modes that PNG has no place for."""


def read(image: ImageLike, limits: Limits | None = None) -> bytes:
    """The encoded bytes of an image given as bytes, path or PIL image.

    A PIL image is written without loss, as PNG or, where PNG has no such
    pixels, as TIFF; its digest is that of these bytes.

    Raises
    ------
    NotFound, UnreadableFile
        When a path leads nowhere or cannot be read.
    ImageTooLarge
        When a file is over the limit on bytes, before it is read.
    InvalidImage
        When a PIL image cannot be written.
    InvalidArgument
        When it is none of the three.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return _read_file(os.fspath(image), limits)
    if hasattr(image, "save"):
        return _encoded(image)
    raise InvalidArgument(f"an image is bytes, a path or a PIL image, not {type(image).__name__}")


def several(images: Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return `images`; raise InvalidArgument when it is a single image, whose letters or bytes are none."""
    if isinstance(images, str | bytes | bytearray | os.PathLike) or hasattr(images, "save"):
        raise InvalidArgument("embed takes a list of images, and this is a single one: write embed([image])")
    return images


def find(paths: Iterable[str]) -> Iterator[str]:
    """The image files that `paths` name, lazily, each once, folders in sorted order.

    Parameters
    ----------
    paths : iterable of str
        Files (taken as they are, whether they exist or not: a missing one
        fails alone later), folders (searched to their depth for `SUFFIXES`),
        globs (`**` included), or `-` for a list on standard input, one path a line.

    Raises
    ------
    NotFound
        When all that was named is folders without an image, globs without a
        match, or an empty list. Beside other images such a name comes last, as
        it is: it fails alone, and is reported.
    """
    named, any_found = list(paths), False
    barren: list[str] = []
    for found in _once(named, (each for path in _listed(named) for each in _expand(path, barren))):
        any_found = True
        yield found
    if barren and not any_found:
        raise NotFound(_why_barren(barren[0]))
    if not any_found:
        raise NotFound("no image was named: the list on standard input is empty")
    yield from barren


def _once(named: list[str], found: Iterable[str]) -> Iterable[str]:
    """Each path once; of a single folder, where none comes twice, millions need not be remembered for it."""
    if len(named) == 1 and os.path.isdir(named[0]):
        return found
    return _distinct(found)


def _distinct(found: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for path in found:
        if path not in seen:
            seen.add(path)
            yield path


def _read_file(path: str, limits: Limits | None) -> bytes:
    try:
        # Not blocking: a pipe that nobody writes to would never open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _read_open(descriptor, path, limits)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"cannot read {path!r}: {getattr(error, 'strerror', error)}") from error


def _read_open(descriptor: int, path: str, limits: Limits | None) -> bytes:
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise UnreadableFile(_why_no_file(path, state.st_mode))
    if limits:
        limits.check_bytes(state.st_size)
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _why_no_file(path: str, mode: int) -> str:
    if not stat.S_ISDIR(mode):
        return f"{path} is a pipe or a device, not a file"
    if any(_in_folder(path)):
        return f"{path} is a folder: name the images in it"
    return _why_barren(path)


def _encoded(image: Image) -> bytes:
    picture = image.convert("RGB") if image.mode == "HSV" else image
    format = "TIFF" if picture.mode in _TIFF_MODES else "PNG"
    stream = io.BytesIO()
    try:
        picture.save(stream, format, exif=image.getexif())  # which says how to turn it upright
    except Exception as error:
        raise InvalidImage(f"the PIL image (mode {image.mode!r}) cannot be written: {error}") from error
    return stream.getvalue()


def _listed(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            # As bytes: a name need not be text.
            names = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
            yield from (os.fsdecode(name) for name in names if name.strip())
        else:
            yield path


def _expand(path: str, barren: list[str]) -> Iterator[str]:
    """The images that one name stands for; when there are none, the name goes to `barren`."""
    if os.path.isdir(path):
        found = _in_folder(path)
    elif glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.iglob(path, recursive=True, include_hidden=False))
        found = (match for match in matches if not os.path.isdir(match))
    else:
        found = iter((path,))
    first = next(found, None)
    if first is None:
        barren.append(path)
    else:
        yield first
        yield from found


def _in_folder(folder: str) -> Iterator[str]:
    """Images of the folder and the folders in it, sorted; what cannot be listed comes as it is, and fails."""
    closed: list[OSError] = []
    visited: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=closed.append, followlinks=True):
        visited.add(os.path.realpath(root))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(root, name)) not in visited
        )
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield os.path.join(root, name)
    yield from (os.fsdecode(error.filename) for error in closed)


def _why_barren(path: str) -> str:
    if os.path.isdir(path):
        return f"the folder {path} holds no image ({', '.join(sorted(SUFFIXES))})"
    return f"nothing matches {path}"
