"""What a collection's file holds at one moment."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.collections import checksums, damage, schema, sqlite
from extractor.collections.filters import Filter
from extractor.collections.item import Entry, FileStamp, Item
from extractor.collections.metadata import Json
from extractor.collections.schema import Meta
from extractor.errors import InvalidArgument, PenultimateError
from extractor.results import Vector

_BLOCK = 1024
_ENTRY = f"{checksums.ROW}, row_checksum"


class Generation(NamedTuple):
    """How far a store has been written; equal for equal content, and rising with every change of items.

    Attributes
    ----------
    items, removed : int
        The last numbers that were given out.
    lineage : str
        Of which file: a copy that goes its own way has another.
    """

    items: int = 0
    removed: int = 0
    lineage: str = ""


class Known(NamedTuple):
    """What is asked of an item for every file of a large job.

    Attributes
    ----------
    digest : bytes
    file : FileStamp or None
    damage : str
        What is wrong with what is stored of it, when its digest and file are not given
        out; empty when nothing is.
    """

    digest: bytes
    file: FileStamp | None
    damage: str = ""


class Block(NamedTuple):
    """Some items of a store: their numbers, ids, and vectors of shape (n, dim)."""

    numbers: list[int]
    ids: list[str]
    vectors: Vector


class Reader:
    """One reading transaction: everything it says is of one moment, whatever is written meanwhile.

    For one thread. Its iterators end with the transaction that it reads in.

    Attributes
    ----------
    db : sqlite3.Connection
        Where to ask what has no method here.

    Raises
    ------
    DamagedFile
        By all methods, when what they read is not what was written.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, dim: int) -> None:
        self.db, self._path, self._dim = db, path, dim
        self._streams: list[sqlite3.Cursor] = []

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM items")[0])

    def end(self) -> None:
        """End the iterators that are left unread: while one is open, its moment is that of the connection."""
        for stream in self._streams:
            stream.close()

    def meta(self) -> Meta:
        """What all items share, as it is now."""
        return schema.read_meta(self.db)

    def generation(self) -> Generation:
        """How far the store is written."""
        last = dict(self.db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        (lineage,) = self._one("SELECT lineage FROM meta")
        return Generation(last.get("items", 0), last.get("removed", 0), lineage)

    def labels(self) -> dict[str | None, int]:
        """How many items have each label; None counts those without."""
        rows = self.db.execute("SELECT label, count(*) FROM items GROUP BY label ORDER BY label")
        return dict(rows.fetchall())

    def get(self, id: str) -> Item | None:
        """The item of that id, with all that is kept of it."""
        row = self._one(f"SELECT {_ENTRY} FROM items WHERE id = ?", id)
        if row is None:
            return None
        entry = self._entry(row)
        (vector,) = self.vectors([entry.number])
        jpeg = self.thumbnail(id) or b""
        try:
            return Item(id, vector, entry.digest, entry.file, entry.label, entry.metadata, jpeg)
        except InvalidArgument as error:
            raise self.damaged(error) from None

    def known(self, id: str, *, thorough: bool = False) -> Known | None:
        """Digest and file of the item of that id; of its vector only whether it is there, or all."""
        row = self._undecoded(id)
        if row is None:
            return None
        fault = damage.of_row(row[:-1], row[-1])
        if reason := fault[1] if fault else self._wrong_vector(row[0], thorough):
            return Known(b"", None, reason)
        return Known(row[2], _file(*row[3:6]))

    def remains(self, id: str) -> Entry | None:
        """What can be trusted of the item of that id: all but the vector, or None.

        Of a row in which a single bit has flipped, this is what was written.
        """
        row = self._undecoded(id)
        values = row and checksums.restored(row[:-1], row[-1])
        if not values or values[1] != id or not all(map(damage.is_unicode, values)):
            return None
        return self._entry((*values, checksums.of_row(values)))

    def with_digest(self, digest: bytes) -> list[str]:
        """The ids of the items that were made from exactly these bytes, in the order they were written."""
        rows = self.db.execute("SELECT id FROM items WHERE digest = ? ORDER BY number", (digest,))
        return [id for (id,) in rows]

    def of_digest(self, digest: bytes, limit: int) -> list[Entry]:
        """The first of the items that were made from exactly these bytes, without those that are damaged."""
        query = f"SELECT {_ENTRY} FROM items WHERE digest = ? ORDER BY number LIMIT ?"
        with sqlite.undecoded(self.db):
            rows = self.db.execute(query, (digest, limit)).fetchall()
        return [self._entry(row) for row in rows if not damage.of_row(row[:-1], row[-1])]

    def oldest(self, digest: bytes) -> str | None:
        """The id of the item that was written first of those made from exactly these bytes."""
        with sqlite.undecoded(self.db):
            row = self._one("SELECT id FROM items WHERE digest = ? ORDER BY number LIMIT 1", digest)
        return row and str(row[0])

    def thumbnail(self, id: str) -> bytes | None:
        """The JPEG of the item of that id; None when there is none."""
        row = self._one("SELECT jpeg FROM thumbnails JOIN items USING (number) WHERE id = ?", id)
        if row and not isinstance(row[0], bytes):
            raise self.damaged(f"the thumbnail of item {id!r} is a {type(row[0]).__name__}")
        return bytes(row[0]) if row else None

    def numbers(self, where: Filter | None = None) -> NDArray[np.int64]:
        """The numbers of all items, or of those that a filter means, rising."""
        condition, values = _condition(where)
        rows = self.db.execute(f"SELECT number FROM items WHERE {condition} ORDER BY number", values)
        return np.fromiter((number for (number,) in rows), np.int64)

    def ids(self, numbers: Iterable[int]) -> list[str]:
        """The ids of items, in the order of their numbers given, all of which are there."""
        asked = _integers(numbers)
        rows = self._among(f"SELECT {_ENTRY} FROM items", asked)
        found = {row[0]: row[1] for row in map(checksums.checked, rows)}
        if gone := [number for number in asked if number not in found]:
            raise self.damaged(f"the item of number {gone[0]} is not where it should be")
        return [found[number] for number in asked]

    def present(self, numbers: Iterable[int]) -> NDArray[np.int64]:
        """Those of some numbers whose items are there, rising."""
        rows = self._among("SELECT number FROM items", _integers(numbers))
        return np.sort(np.fromiter((number for (number,) in rows), np.int64))

    def vectors(self, numbers: Iterable[int]) -> Vector:
        """The vectors of items, of shape (n, dim), in the order of their numbers given."""
        asked = _integers(numbers)
        rows = {row[0]: row[1:] for row in self._among("SELECT number, vector, checksum FROM vectors", asked)}
        found = np.empty((len(asked), self._dim), np.float32)
        for place, number in enumerate(asked):
            found[place] = self._vector(number, *rows.get(number, (None, None)))
        return found

    def entries(
        self, where: Filter | None = None, *, vectors: bool = False, after: int = 0, limit: int = -1
    ) -> Iterator[Entry]:
        """Items in the order they were written, a block at a time in memory.

        Parameters
        ----------
        where : Filter, optional
        vectors : bool
            Read the vectors, too.
        after : int
            Only those of higher numbers.
        limit : int
            At most so many; all when negative.
        """
        condition, values = _condition(where)
        query = f"SELECT {_ENTRY} FROM items WHERE number > ? AND {condition} ORDER BY number LIMIT ?"
        rows = self._stream(query, int(after), *values, int(limit))  # SQLite takes NumPy's for bytes
        while block := rows.fetchmany(_BLOCK):
            entries = [self._entry(row) for row in block]
            if vectors:
                read = self.vectors(entry.number for entry in entries)
                entries = [entry._replace(vector=row) for entry, row in zip(entries, read, strict=True)]
            yield from entries

    def written_since(self, since: Generation) -> Iterator[Block]:
        """The items that were written after `since` and are still there, in the order they were written."""
        query = """SELECT number, id, vector, checksum FROM items LEFT JOIN vectors USING (number)
            WHERE number > ? ORDER BY number"""
        rows = self._stream(query, since.items)
        while block := rows.fetchmany(_BLOCK):
            numbers, ids, *_ = zip(*block, strict=True)
            vectors = np.empty((len(block), self._dim), np.float32)
            for place, (number, _, blob, checksum) in enumerate(block):
                vectors[place] = self._vector(number, blob, checksum)
            yield Block(list(numbers), list(ids), vectors)

    def removed_since(self, since: Generation) -> list[int] | None:
        """The numbers of the items that were removed after `since`.

        Returns
        -------
        list of int or None
            None when it cannot be told from there: begin anew, from `Generation()`.
        """
        if not since.items:
            return []
        now = self.generation()
        query = "SELECT removal, number FROM removed WHERE removal > ? ORDER BY removal"
        rows = self.db.execute(query, (since.removed,)).fetchall()
        complete = len(rows) == now.removed - since.removed  # the log is cut at its beginning
        if not complete or now.lineage != since.lineage or now.items < since.items:
            return None
        return [number for _, number in rows]

    def damaged(self, reason: object) -> PenultimateError:
        """The error to raise for content that nothing here has written."""
        return sqlite.damaged_rows(self._path, str(reason))

    def _one(self, query: str, *values: object) -> Any:
        return self.db.execute(query, values).fetchone()

    def _undecoded(self, id: str) -> Any:
        with sqlite.undecoded(self.db):
            return self._one(f"SELECT {_ENTRY} FROM items WHERE id = ?", id)

    def _wrong_vector(self, number: int, thorough: bool) -> str:
        if thorough:
            row = self._one("SELECT vector, checksum FROM vectors WHERE number = ?", number)
            blob, checksum = row or (None, None)
            return damage.of_vector(number, blob, checksum, self._dim)
        there = self._one("SELECT 1 FROM vectors WHERE number = ?", number)
        return "" if there else damage.of_vector(number, None, None, self._dim)

    def _stream(self, query: str, *values: object) -> sqlite3.Cursor:
        self._streams.append(self.db.execute(query, values))
        return self._streams[-1]

    def _among(self, query: str, numbers: Sequence[int]) -> Iterator[Any]:
        chosen = "WHERE number IN (SELECT value FROM json_each(?))"
        return self.db.execute(f"{query} {chosen}", (json.dumps(numbers),))

    def _entry(self, row: Sequence[Any]) -> Entry:
        number, id, digest, source, size, mtime_ns, label, text = checksums.checked(row)
        return Entry(number, id, digest, _file(source, size, mtime_ns), label, self._metadata(id, text))

    def _metadata(self, id: str, text: str) -> dict[str, Json]:
        try:
            return dict(json.loads(text)) if text != "{}" else {}
        except (TypeError, ValueError):
            raise self.damaged(f"the metadata of item {id!r} is no JSON object") from None

    def _vector(self, number: int, blob: object, checksum: int | None) -> Vector:
        if blob is None:
            raise self.damaged(f"item {self._name(number)} has no vector")
        if not isinstance(blob, bytes):
            wrong = f"is a {type(blob).__name__}"  # a flipped bit can make any type of any other
        elif len(blob) != 4 * self._dim:
            wrong = f"has {len(blob)} bytes instead of {4 * self._dim}"
        elif checksums.of_vector(number, blob) != checksum:
            wrong = "is not what was written: it has another checksum"
        else:
            return np.frombuffer(blob, "<f4")
        raise self.damaged(f"the vector of item {self._name(number)} {wrong}")

    def _name(self, number: int) -> str:
        row = self._one("SELECT id FROM items WHERE number = ?", number)
        return repr(row[0]) if row else f"number {number}"


def _integers(numbers: Iterable[int]) -> list[int]:
    return numbers.tolist() if isinstance(numbers, np.ndarray) else [int(number) for number in numbers]


def _condition(where: Filter | None) -> tuple[str, tuple[str | int | float, ...]]:
    return (where.sql, where.values) if where else ("1", ())


def _file(source: str | None, size: int | None, mtime_ns: int | None) -> FileStamp | None:
    if source is None or size is None or mtime_ns is None:
        return None
    return FileStamp(source, size, mtime_ns)
