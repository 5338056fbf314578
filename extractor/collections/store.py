"""The truth of a collection: one SQLite file, whose commits survive a power cut.

Every write is one transaction, in WAL mode with `synchronous=FULL`: when a
method returns, what it wrote is on disk; when it raises, nothing is. Each
written row gets a number that is never used again, and each removed one is
noted, so that whoever has read the store up to some `Generation` can read on
from there, whichever process wrote.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extractor.collections import sqlite
from extractor.collections.item import FileStamp, Item
from extractor.errors import AlreadyExists, InvalidArgument, PenultimateError, Unavailable
from extractor.folders import locked, publishing, refusals, sync_folder
from extractor.results import Vector

SCHEMA_VERSION = 1

_APPLICATION_ID = 0x70656E75  # "penu", so that no other SQLite file is taken for a collection
_BLOCK = 1024

_SCHEMA = (
    "CREATE TABLE meta (fingerprint TEXT NOT NULL, dim INTEGER NOT NULL, backbone TEXT NOT NULL)",
    """CREATE TABLE items (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        digest BLOB NOT NULL,
        source TEXT,
        size INTEGER,
        mtime_ns INTEGER,
        vector BLOB NOT NULL
    )""",
    "CREATE TABLE removed (removal INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Meta(NamedTuple):
    """What all vectors of a collection share."""

    fingerprint: str
    dim: int
    backbone: str


class Generation(NamedTuple):
    """How far a store has been written: the last numbers that were given out."""

    items: int = 0
    removed: int = 0


class Known(NamedTuple):
    """What can be said of an item without reading its vector."""

    digest: bytes
    file: FileStamp | None


class Block(NamedTuple):
    """Some items of a store: their numbers, ids, and vectors of shape (n, dim)."""

    numbers: list[int]
    ids: list[str]
    vectors: Vector


class Store:
    """An open collection file. Threads must take turns.

    Parameters
    ----------
    path : Path
        The file, which must exist.

    Raises
    ------
    DamagedFile
        When it is not a collection, or a damaged one.
    InvalidArgument
        When a newer version of this program wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with sqlite.translated(path):
            self._db, self._state = sqlite.connect_existing(path)
            try:
                self.meta = self._read_meta()
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def create(cls, path: Path, meta: Meta) -> Store:
        """Make an empty store; the file appears whole or not at all.

        Raises
        ------
        AlreadyExists
            When the file is there, or another process was quicker.
        InvalidArgument
            When the disk is full or the place cannot be written.
        """
        with refusals(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Locked, so that nobody's file is replaced: hard links, which refuse that, are not everywhere.
            with locked(path.parent.parent):
                if path.exists():
                    raise AlreadyExists(f"there is a collection {path.parent.name!r} already")
                with (
                    publishing(path) as draft,
                    sqlite.translated(path),
                    closing(sqlite.connect(draft, "rwc")) as db,
                ):
                    _write_schema(db, meta)
            sync_folder(path.parent)
        return cls(path)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._path.parent.name

    def close(self) -> None:
        """Close the file."""
        with sqlite.translated(self._path):
            self._db.close()

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM items")[0])

    def get(self, id: str) -> Item | None:
        """The item of that id."""
        row = self._one("SELECT vector, digest, source, size, mtime_ns FROM items WHERE id = ?", id)
        return row and self._item(id, *row)

    def known(self, id: str) -> Known | None:
        """Digest and file of the item of that id."""
        row = self._one("SELECT digest, source, size, mtime_ns FROM items WHERE id = ?", id)
        return row and Known(row[0], _file(*row[1:]))

    def put(self, items: Iterable[Item]) -> None:
        """Write items, replacing those of the same id; of equal ids among them the last stays."""
        latest = {item.id: item for item in items}
        with self._writing():
            self._remove(latest)
            self._db.executemany(
                "INSERT INTO items (id, digest, source, size, mtime_ns, vector) VALUES (?, ?, ?, ?, ?, ?)",
                map(_row, latest.values()),
            )

    def remove(self, ids: Iterable[str]) -> int:
        """Remove items; return how many of them there were."""
        with self._writing():
            return self._remove(ids)

    def generation(self) -> Generation:
        """How far the store is written now."""
        with sqlite.translated(self._path):
            last = dict(self._db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return Generation(last.get("items", 0), last.get("removed", 0))

    def written_since(self, since: Generation) -> Iterator[Block]:
        """The items that were written after `since` and are still there."""
        query = "SELECT number, id, vector FROM items WHERE number > ? ORDER BY number"
        with sqlite.translated(self._path):
            rows = self._db.execute(query, (since.items,))
            while block := rows.fetchmany(_BLOCK):
                numbers, ids, blobs = zip(*block, strict=True)
                yield Block(list(numbers), list(ids), self._vectors(ids, blobs))

    def removed_since(self, since: Generation) -> list[int]:
        """The numbers of the items that were removed after `since`."""
        with sqlite.translated(self._path):
            rows = self._db.execute("SELECT number FROM removed WHERE removal > ?", (since.removed,))
            return [number for (number,) in rows]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever other processes write.

        Raises
        ------
        Unavailable
            When the file can only be read here, and was written meanwhile.
        """
        try:
            with sqlite.translated(self._path), sqlite.transaction(self._db, "DEFERRED"):
                yield
        finally:
            self._check_unwritten()

    def _check_unwritten(self) -> None:
        if self._state and self._state != sqlite.FileState.of(self._path):
            raise Unavailable(
                f"the collection {self.name!r} is being written by another process, which cannot be followed "
                "in a folder that is read-only here; try again when it is done"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with sqlite.translated(self._path), sqlite.transaction(self._db):
            yield

    def _one(self, query: str, *values: object) -> Any:
        with sqlite.translated(self._path):
            return self._db.execute(query, values).fetchone()

    def _remove(self, ids: Iterable[str]) -> int:
        keys = [(id,) for id in ids]
        self._db.executemany("INSERT INTO removed (number) SELECT number FROM items WHERE id = ?", keys)
        return self._db.executemany("DELETE FROM items WHERE id = ?", keys).rowcount

    def _read_meta(self) -> Meta:
        if self._one("PRAGMA application_id") != (_APPLICATION_ID,):
            raise sqlite.damaged(self._path, "not a collection's file")
        (version,) = self._one("PRAGMA user_version")
        if version != SCHEMA_VERSION:
            raise InvalidArgument(
                f"the collection {self._path.parent.name!r} is of version {version}, written by another "
                f"release; this one reads version {SCHEMA_VERSION}: use the release that wrote it"
            )
        return Meta(*self._one("SELECT fingerprint, dim, backbone FROM meta"))

    def _item(self, id: str, blob: bytes, digest: bytes, *file: Any) -> Item:
        try:
            return Item(id, self._vectors([id], [blob])[0], digest, _file(*file))
        except InvalidArgument as error:
            raise self.damaged(error) from None

    def _vectors(self, ids: Sequence[str], blobs: Sequence[bytes]) -> Vector:
        width = 4 * self.meta.dim
        for id, blob in zip(ids, blobs, strict=True):
            if len(blob) != width:
                raise self.damaged(f"the vector of item {id!r} has {len(blob)} bytes instead of {width}")
        vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, self.meta.dim)
        return vectors.astype(np.float32, copy=False)

    def damaged(self, reason: object) -> PenultimateError:
        """The error to raise for content that nothing here has written."""
        return sqlite.damaged(self._path, str(reason))


def _write_schema(db: sqlite3.Connection, meta: Meta) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    with sqlite.transaction(db):
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES (?, ?, ?)", meta)


def _row(item: Item) -> tuple[str, bytes, str | None, int | None, int | None, bytes]:
    return (item.id, item.digest, *(item.file or (None, None, None)), item.vector.astype("<f4").tobytes())


def _file(source: str | None, size: int | None, mtime_ns: int | None) -> FileStamp | None:
    if source is None or size is None or mtime_ns is None:
        return None
    return FileStamp(source, size, mtime_ns)
