"""What a collection holds for one image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from extractor.errors import InvalidArgument
from extractor.indexes import has_direction
from extractor.results import Vector


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

    Raises
    ------
    InvalidArgument
        When the id is empty or no text that can be stored, or the vector is
        not of one dimension, zero, or not finite.
    """

    id: str
    vector: Vector
    digest: bytes = b""
    file: FileStamp | None = None

    def __post_init__(self) -> None:
        _check_id(self.id)
        vector = np.ascontiguousarray(self.vector, np.float32)
        if vector.ndim != 1:
            raise InvalidArgument(
                f"the vector of item {self.id!r} must have one dimension, not {vector.shape}"
            )
        if not has_direction(vector[None])[0]:
            raise InvalidArgument(
                f"the vector of item {self.id!r} is zero or holds values that are not finite: "
                "nothing can be compared with it"
            )
        object.__setattr__(self, "vector", vector)


def _check_id(id: str) -> None:
    if not id:
        raise InvalidArgument("an item's id must not be empty")
    try:
        id.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"the id {id!r} is not valid Unicode and cannot be stored: rename it") from None
