"""From what a user names (paths, globs, bytes, pictures in memory) to image files' bytes."""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
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


def find(paths: Iterable[str], *, in_order: bool = True) -> Iterator[str]:
    """The image files that `paths` name, lazily, each once, folders in sorted order.

    Of folders that lie apart the names of one at a time are held in memory,
    and none without order; of other paths all that have been given.

    Parameters
    ----------
    paths : iterable of str
        Files (taken as they are, whether they exist or not: a missing one
        fails alone later), folders (searched to their depth for `SUFFIXES`),
        globs (`**` included), or `-` for a list on standard input, one path a line.
    in_order : bool
        False for the files of a folder as they come, as when they are only counted.

    Raises
    ------
    NotFound
        When all that was named is folders without an image, globs without a
        match, or an empty list. Beside other images such a name comes last, as
        it is: it fails alone, and is reported.
    """
    named, any_found = list(paths), False
    barren: list[str] = []
    for found in _once(named, (each for path in _listed(named) for each in _expand(path, barren, in_order))):
        any_found = True
        yield found
    if barren and not any_found:
        raise NotFound(_why_barren(barren[0]))
    if not any_found:
        raise NotFound("no image was named: the list on standard input is empty")
    yield from barren


def _once(named: list[str], found: Iterable[str]) -> Iterable[str]:
    """Each path once; of folders that lie apart, where none comes twice, millions need not be remembered."""
    if all(map(os.path.isdir, named)) and not _overlap([f"{os.path.normpath(name)}/" for name in named]):
        return found
    return _distinct(found)


def _overlap(folders: list[str]) -> bool:
    """Whether one of the folders lies in another, or is one; in order that comes right before."""
    ordered = sorted(folders)
    return any(second.startswith(first) for first, second in pairwise(ordered))


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
    if any(_in_folder(path, in_order=False)):
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


def _expand(path: str, barren: list[str], in_order: bool) -> Iterator[str]:
    """The images that one name stands for; when there are none, the name goes to `barren`."""
    if os.path.isdir(path):
        found = _in_folder(path, in_order)
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


def _in_folder(folder: str, in_order: bool) -> Iterator[str]:
    """Images of the folder and the folders in it, sorted; what cannot be listed comes as it is, and fails."""
    closed: list[str] = []
    visited: set[str] = set()
    waiting = [folder]
    while waiting:
        root = waiting.pop()
        visited.add(os.path.realpath(root))
        inner: list[str] = []
        names = _names(root, inner, closed)
        yield from (os.path.join(root, name) for name in (sorted(names) if in_order else names))
        within = (os.path.join(root, name) for name in sorted(inner, reverse=True))
        waiting += [path for path in within if os.path.realpath(path) not in visited]
    yield from closed


def _names(root: str, inner: list[str], closed: list[str]) -> Iterator[str]:
    """The images right in a folder; the folders in it go to `inner`, itself to `closed` if it is."""
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    inner.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    yield entry.name
    except OSError:
        closed.append(root)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _why_barren(path: str) -> str:
    if os.path.isdir(path):
        return f"the folder {path} holds no image ({', '.join(sorted(SUFFIXES))})"
    return f"nothing matches {path}"
