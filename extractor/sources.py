"""From what a user names (paths, globs, bytes, pictures in memory) to image files' bytes."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from extractor.errors import InvalidArgument, NotFound, UnreadableFile
from extractor.results import ImageLike

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""What counts as an image when a folder is searched; a file named on its own is always tried."""


def read(image: ImageLike) -> bytes:
    """The encoded bytes of an image given as bytes, path or PIL image.

    A PIL image is written as PNG, which loses nothing; its digest is that of
    the PNG.

    Raises
    ------
    NotFound, UnreadableFile
        When a path leads nowhere or cannot be read.
    InvalidArgument
        When it is none of the three.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return _read_file(Path(image))
    if hasattr(image, "save"):
        stream = io.BytesIO()
        image.save(stream, format="PNG")
        return stream.getvalue()
    raise InvalidArgument(f"an image is bytes, a path or a PIL image, not {type(image).__name__}")


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
        When a folder holds no image, a glob matches nothing, or a list is empty.
    """
    seen: set[str] = set()
    for path in _listed(paths):
        for found in _expand(path):
            if found not in seen:
                seen.add(found)
                yield found
    if not seen:
        raise NotFound("no image was named: the list on standard input is empty")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}") from error


def _listed(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path


def _expand(path: str) -> Iterator[str]:
    if Path(path).is_dir():
        yield from _some(_in_folder(path), f"the folder {path} holds no image ({_suffixes()})")
    elif glob.has_magic(path) and not Path(path).exists():
        matches = sorted(glob.iglob(path, recursive=True, include_hidden=False))
        files = (match for match in matches if Path(match).is_file())
        yield from _some(files, f"nothing matches {path}")
    else:
        yield path


def _some(found: Iterator[str], otherwise: str) -> Iterator[str]:
    first = next(found, None)
    if first is None:
        raise NotFound(otherwise)
    yield first
    yield from found


def _in_folder(folder: str) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield str(Path(root) / name)


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
