"""What a collection holds for one image."""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from extractor.collections import metadata as metadata_
from extractor.collections.metadata import Json
from extractor.errors import InvalidArgument
from extractor.indexes import has_direction
from extractor.keep import KEEP as KEEP
from extractor.keep import Keep as Keep
from extractor.results import Vector

MAX_LABEL = 1000
"""Characters of a label."""

MAX_THUMBNAIL_BYTES = 256 * 1024

_GONE = (errno.ENOENT, errno.ENOTDIR)


class FileStamp(NamedTuple):
    """A file's path, size and time: while they stay, its content is taken to be the same."""

    source: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> FileStamp:
        """Read the stamp of a file; the path is made absolute.

        Raises
        ------
        OSError
            When the file cannot be reached.
        """
        state = os.stat(path)  # noqa: PTH116 - called for every file of a large job
        return cls(os.path.abspath(path), state.st_size, state.st_mtime_ns)  # noqa: PTH100

    def is_gone(self) -> bool:
        """Whether there is no file at that path any more; False when that cannot be told."""
        try:
            os.lstat(self.source)
        except OSError as error:
            return error.errno in _GONE
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One image of a collection; it can always be stored and compared.

    Attributes
    ----------
    id : str
        The caller's name for it.
    vector : float32 array of shape (dim,)
        The embedding as the backbone gave it, not normalised.
    digest : bytes
        SHA-256 of the image file's bytes.
    file : FileStamp or None
        The file it was read from.
    label : str or None
        What it shows, as far as somebody has said so.
    metadata : mapping
        Free facts: a JSON object with finite numbers, of at most 64 kB.
    thumbnail : bytes
        A small JPEG; empty for none.

    Raises
    ------
    InvalidArgument
        When the id is empty or no text that can be stored, the vector is not
        of one dimension, zero, or not finite, or one of the others is too
        large or not what it should be.
    """

    id: str
    vector: Vector
    digest: bytes = b""
    file: FileStamp | None = None
    label: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    thumbnail: bytes = b""

    def __post_init__(self) -> None:
        _check_id(self.id)
        _check_bytes(self)
        vector = np.ascontiguousarray(self.vector, np.float32)
        if vector.ndim != 1:
            raise InvalidArgument(
                f"the vector of item {self.id!r} must have one dimension, not {vector.shape}"
            )
        if not _has_direction(vector):
            raise InvalidArgument(
                f"the vector of item {self.id!r} is zero or holds values that are not finite: "
                "nothing can be compared with it"
            )
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "metadata", metadata_.checked(self.metadata, f"item {self.id!r}"))
        object.__setattr__(self, "file", self.file and _checked_file(self.file, self.id))
        check_label(self.label, self.id)
        if len(self.thumbnail) > MAX_THUMBNAIL_BYTES:
            raise InvalidArgument(
                f"the thumbnail of item {self.id!r} has {len(self.thumbnail):,} bytes; "
                f"at most {MAX_THUMBNAIL_BYTES:,} are kept"
            )


class Entry(NamedTuple):
    """What a store says of an item.

    Attributes
    ----------
    number : int
        The store's own, which rises in the order of writing.
    id : str
    digest : bytes
    file : FileStamp or None
    label : str or None
    metadata : dict
    vector : float32 array of shape (dim,), or None
        None where it was not asked for.
    """

    number: int
    id: str
    digest: bytes
    file: FileStamp | None
    label: str | None
    metadata: dict[str, Json]
    vector: Vector | None = None


def check_label(label: str | None, id: str) -> None:
    """Raise InvalidArgument unless `label` can be that of the item `id`."""
    if label is None:
        return
    if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL:
        raise InvalidArgument(
            f"the label of item {id!r} must be a text of 1 to {MAX_LABEL:,} characters; None stands for none"
        )
    _check_text("label", label)


def _has_direction(vector: Vector) -> bool:
    """As `has_direction`; a usual vector is known by a plain product, which takes a tenth of the time."""
    return 1e-30 < float(np.dot(vector, vector)) < 1e30 or bool(has_direction(vector[None])[0])


def _checked_file(file: FileStamp, id: str) -> FileStamp:
    """The stamp in plain values, as SQLite takes them."""
    _check_text("path", file.source)
    try:
        size, mtime_ns = map(operator.index, file[1:])
    except TypeError:
        raise InvalidArgument(f"the size and time of item {id!r} must be whole numbers: {file[1:]}") from None
    if not (-(2**63) <= size < 2**63 and -(2**63) <= mtime_ns < 2**63):
        raise InvalidArgument(f"the size and time of item {id!r} must fit in 64 bits: {size}, {mtime_ns}")
    return FileStamp(file.source, size, mtime_ns)


def _check_bytes(item: Item) -> None:
    for name in ("digest", "thumbnail"):
        if not isinstance(value := getattr(item, name), bytes):
            raise InvalidArgument(f"the {name} of item {item.id!r} must be bytes, not {type(value).__name__}")


def _check_id(id: str) -> None:
    if id == "":
        raise InvalidArgument("an item's id must not be empty")
    _check_text("id", id)


def _check_text(what: str, text: str) -> None:
    if not isinstance(text, str):
        raise InvalidArgument(f"the {what} {text!r} is no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"the {what} {text!r} is not valid Unicode and cannot be stored: rename it"
        ) from None
