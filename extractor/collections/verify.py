"""Whether a collection is what was written: checksums, SQLite's own check, what belongs to nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from extractor.collections import checksums, damage, sqlite
from extractor.collections.damage import Kind
from extractor.collections.reader import Reader
from extractor.collections.saved import SavedIndex
from extractor.collections.store import Store

NAMED = 100
"""So many faults are named in a report; all are counted."""

_ROWS = f"""SELECT {checksums.ROW}, row_checksum, vector, checksum
    FROM items LEFT JOIN vectors USING (number) WHERE number > ? ORDER BY number LIMIT ?"""
_BLOCK = 1024
_BESIDE = ("vectors", "thumbnails")
_ORPHANS = "FROM {table} WHERE number NOT IN (SELECT number FROM items)"


class Fault(NamedTuple):
    """What is wrong with one item.

    Attributes
    ----------
    number : int
    id : str
    kind : str
        "vector" when it is missing or damaged, "metadata" when that is no JSON object,
        "row" when anything else that is kept of it is not what was written.
    reason : str
    """

    number: int
    id: str
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a collection.

    Attributes
    ----------
    items, vectors, thumbnails : int
        Rows of each table.
    faults : int
        Vectors that are missing or damaged, and items of which anything else is.
    named : tuple of Fault
        The first of them.
    orphans : dict of str to int
        Rows of "vectors" and "thumbnails" that belong to no item.
    integrity : tuple of str
        What SQLite has to say against the file; empty when it is whole.
    files_gone : int
        Items whose file is not there any more. That is no fault: they can
        still be found, but not embedded again.
    index : str
        What is wrong with the files of the saved index; empty when they are whole, or there are none.
    """

    items: int
    vectors: int
    thumbnails: int
    faults: int
    named: tuple[Fault, ...]
    orphans: dict[str, int]
    integrity: tuple[str, ...]
    files_gone: int
    index: str = ""

    @property
    def sound(self) -> bool:
        """Whether all is as it was written."""
        return not (self.faults or self.integrity or self.index or any(self.orphans.values()))


def verify(store: Store) -> Verification:
    """Read all of a collection, as of one moment, and compare it with its checksums.

    Memory stays small, and searches and writes go on meanwhile.

    Raises
    ------
    DamagedFile
        When the file is damaged so far that its tables cannot be read.
    """
    with store.reading() as reader:
        integrity = check_integrity(reader.db)
        found, named = 0, list[Fault]()
        for fault in faults(reader, store.meta.dim):
            found += 1
            named += [fault] * (len(named) < NAMED)
        return Verification(
            items=len(reader),
            vectors=_count(reader.db, "FROM vectors"),
            thumbnails=_count(reader.db, "FROM thumbnails"),
            faults=found,
            named=tuple(named),
            orphans={table: _count(reader.db, _ORPHANS.format(table=table)) for table in _BESIDE},
            integrity=integrity,
            files_gone=_files_gone(reader.db),
            index=SavedIndex(store).damage(),
        )


def check_integrity(db: sqlite3.Connection) -> tuple[str, ...]:
    """What SQLite has to say against a file; nothing when it is whole."""
    try:
        said = [text for (text,) in db.execute(f"PRAGMA integrity_check({NAMED})")]
    except sqlite3.DatabaseError as error:
        return (str(error),)
    return () if said == ["ok"] else tuple(said)


def faults(reader: Reader, dim: int) -> Iterator[Fault]:
    """What is not what was written, in the order of the items' numbers."""
    last = 0
    while rows := _block(reader.db, last):
        for *row, checksum, blob, vector_checksum in rows:
            number, id = row[0], str(row[1])
            if fault := damage.of_row(row, checksum):
                yield Fault(number, id, *fault)
            if reason := damage.of_vector(number, blob, vector_checksum, dim):
                yield Fault(number, id, "vector", reason)
        last = rows[-1][0]


def remove_orphans(db: sqlite3.Connection) -> int:
    """Delete what belongs to no item; return how many rows."""
    return sum(db.execute("DELETE " + _ORPHANS.format(table=table)).rowcount for table in _BESIDE)


def _block(db: sqlite3.Connection, after: int) -> list[Any]:
    with sqlite.undecoded(db):
        return db.execute(_ROWS, (after, _BLOCK)).fetchall()


def _files_gone(db: sqlite3.Connection) -> int:
    with sqlite.undecoded(db):
        sources = db.execute("SELECT source FROM items WHERE source IS NOT NULL")
        return sum(
            not os.path.lexists(str(source)) for (source,) in sources
        )  # a Path costs five times as much


def _count(db: sqlite3.Connection, rows: str) -> int:
    return int(db.execute(f"SELECT count(*) {rows}").fetchone()[0])
