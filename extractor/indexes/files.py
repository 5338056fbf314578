"""A segment on disk: a few files of plain numbers, and a manifest with their checksums.

The manifest is written last. Everything is read, and compared with its
checksums, before the first search: what was cut short or changed is
`DamagedFile`, never a wrong answer. Arrays are then used where they lie.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.errors import DamagedFile
from extractor.indexes.threads import each

Facts: TypeAlias = dict[str, Any]

MANIFEST = "segment.json"

_VERSION = 2
"""Rises when the layout of any kind changes: exact-fp16 holds scaled values since 2."""

_PART = 32 << 20


class Writer:
    """Writes a segment's files into an empty folder; `finish` makes them one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Facts] = {}

    def array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array as its bare numbers."""
        values = np.ascontiguousarray(values)
        with self.stream(name) as write:
            for part in _parts(values.reshape(-1).view(np.uint8).data):
                write(part)
        self._files[name] |= {"dtype": values.dtype.newbyteorder("<").str, "shape": values.shape}

    def stream(self, name: str) -> _Stream:
        """A file that is written piece by piece."""
        return _Stream((self._folder / name).open("wb"), self._files.setdefault(name, {}))

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest, with what else there is to say of the segment."""
        text = json.dumps({"version": _VERSION, "files": self._files, **facts})
        (self._folder / MANIFEST).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}")


class _Stream:
    """Pieces on their way to a file; checksums of parts of equal size are taken in passing."""

    def __init__(self, file: BinaryIO, facts: Facts) -> None:
        self._file, self._facts = file, facts
        self._sums, self._size = [0], 0

    def __enter__(self) -> Callable[[Any], None]:
        return self._write

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._facts |= {"size": self._size, "crc32": self._sums}

    def _write(self, data: Any) -> None:
        rest = memoryview(data)
        while len(rest):
            if self._size and self._size % _PART == 0:
                self._sums.append(0)
            piece, rest = rest[: (room := _PART - self._size % _PART)], rest[room:]
            self._file.write(piece)
            self._sums[-1] = zlib.crc32(piece, self._sums[-1])
            self._size += len(piece)


class Reader:
    """A segment's files, all of them as they were written.

    Attributes
    ----------
    facts : dict
        What `Writer.finish` was given.

    Raises
    ------
    DamagedFile
        When a file is missing, of another size, or holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts = _manifest(folder / MANIFEST)
        for name, facts in self.facts["files"].items():
            _check(folder / name, facts)

    def array(self, name: str) -> NDArray[Any]:
        """An array, mapped into memory."""
        facts = self.facts["files"][name]
        values: NDArray[Any] = _mapped(self.path(name)).view(facts["dtype"]).reshape(facts["shape"])
        return values

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self._folder / name


def damaged(path: Path, reason: object) -> DamagedFile:
    """The error for a file that is not as it was written."""
    return DamagedFile(f"the index file {path} is damaged: {reason}")


def _manifest(path: Path) -> Facts:
    try:
        checksum, text = path.read_text().split("\n", 1)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    if checksum != f"{zlib.crc32(text.encode()):08x}":
        raise damaged(path, "its checksum is another")
    facts: Facts = json.loads(text)
    if facts["version"] != _VERSION:
        raise damaged(path, f"it is of version {facts['version']}, this release reads version {_VERSION}")
    return facts


def _check(path: Path, facts: Facts) -> None:
    try:
        content = _mapped(path)
    except OSError as error:
        raise damaged(path, error) from None
    if len(content) != facts["size"]:
        raise damaged(path, f"it has {len(content):,} bytes instead of {facts['size']:,}")
    if each(_sum, list(_parts(content.data)) or [memoryview(b"")]) != facts["crc32"]:
        raise damaged(path, "its checksum is another")


def _sum(part: memoryview) -> int:
    return zlib.crc32(part)


def _mapped(path: Path) -> NDArray[np.uint8]:
    if not path.stat().st_size:
        return np.empty(0, np.uint8)  # nothing cannot be mapped
    # a plain array over the mapping: `memmap`'s own methods cost as much as a small search
    return np.asarray(np.memmap(path, np.uint8, "r"))


def _parts(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + _PART] for start in range(0, len(data), _PART))
