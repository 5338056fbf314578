"""What exploring reads of a collection: everything at one moment, vectors on disk when they are many."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from types import TracebackType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extractor.errors import NotFound
from extractor.exploring.watching import Watch, unwatched
from extractor.folders import refusals
from extractor.indexes import unit
from extractor.results import Vector

Places: TypeAlias = NDArray[np.int64]

IN_MEMORY = 256 * 2**20
"""Bytes of vectors that stay in memory; more go into an unnamed file in the system's temporary folder."""

_BATCH = 1024
_DIGEST = 32  # bytes of a SHA-256; NumPy leaves out zeros at the end, which makes no two of them equal


class Readable(Protocol):
    """What is read of an item."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def vector(self) -> Vector | None: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102


class Source(Protocol):
    """What is read: an `extractor.collections.Collection`, or what looks like one."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102

    def __len__(self) -> int: ...

    def items(self, *, vectors: bool = False) -> Iterable[Readable]:
        """Its items as they are at one moment, in the order they were written."""
        ...


class Rows:
    """The items of a collection, one a row, in the order they were written. Not for several threads.

    A million images take about 40 MB here and their vectors and ids a file.

    Attributes
    ----------
    dim : int
        Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._units: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed in `close`
        self._ids: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._ends = array("q", [0])
        self._digests = bytearray()
        self._codes = array("i")
        self._labels: dict[str | None, int] = {}
        self._names: list[str | None] = []

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        self._units.close()
        self._ids.close()

    def append(self, items: Sequence[Readable]) -> None:
        """Add items as the next rows."""
        self._units.write(
            unit(np.stack([np.asarray(item.vector, np.float32) for item in items]), self.dim)
            .astype("<f4")
            .tobytes()
        )
        for item in items:
            id = item.id.encode()
            self._ids.write(id)
            self._ends.append(self._ends[-1] + len(id))
            self._digests += item.digest[:_DIGEST].ljust(_DIGEST, b"\0")
            self._codes.append(self._labels.setdefault(item.label, len(self._labels)))

    def tile(self, start: int, count: int) -> Vector:
        """Unit vectors of up to `count` rows from `start` on, of shape (n, dim)."""
        self._units.seek(start * 4 * self.dim)
        units = np.frombuffer(self._units.read(count * 4 * self.dim), "<f4").reshape(-1, self.dim)
        return units.astype(np.float32, copy=False)

    def tiles(self, count: int) -> Iterator[Vector]:
        """All unit vectors in order, `count` at a time."""
        return (self.tile(start, count) for start in range(0, len(self), count))

    def at(self, places: Places) -> Vector:
        """The unit vectors of some rows."""
        return np.concatenate([np.empty((0, self.dim), np.float32), *(self.tile(int(p), 1) for p in places)])

    def id(self, place: int) -> str:
        """The id of one row."""
        self._ids.seek(self._ends[place])
        return self._ids.read(self._ends[place + 1] - self._ends[place]).decode()

    def label(self, place: int) -> str | None:
        """The label of one row."""
        if len(self._names) < len(self._labels):
            self._names = list(self._labels)
        return self._names[self._codes[place]]

    @property
    def labels(self) -> list[str | None]:
        """The different labels, in the order they were met."""
        return list(self._labels)

    @property
    def codes(self) -> NDArray[np.int32]:
        """For each row the place of its label in `labels`."""
        return np.array(self._codes, np.int32)

    @property
    def digests(self) -> NDArray[np.bytes_]:
        """The digest of each row; empty where it has none."""
        return np.frombuffer(self._digests, f"S{_DIGEST}")


def read_rows(collection: Source, watch: Watch = unwatched) -> Rows:
    """Read a collection as it is now.

    Raises
    ------
    NotFound
        When it is empty.
    InvalidArgument
        When the disk has no room for the vectors.
    """
    rows = Rows(collection.dim)
    stored = collection.items(vectors=True)
    items = iter(watch(stored, len(collection), "read"))
    try:
        while batch := list(islice(items, _BATCH)):
            with refusals(Path(gettempdir()), "TMPDIR in the environment"):
                rows.append(batch)
        if not len(rows):
            raise NotFound(
                f"the collection {collection.name!r} is empty: add images with "
                f"`penultimate index {collection.name} PATH...`"
            )
    except BaseException:
        rows.close()
        if isinstance(stored, Generator):
            stored.close()  # which ends its transaction
        raise
    return rows
