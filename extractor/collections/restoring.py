"""Items of which anything but the vector is damaged: put right from their checksum, as far as it tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias

from extractor.collections import checksums, rows, sqlite
from extractor.collections.damage import is_unicode
from extractor.collections.verify import Fault

Row: TypeAlias = Sequence[Any]


class Restoration(NamedTuple):
    """What can be done for one damaged row.

    Attributes
    ----------
    outcome : str
        "restored" when a single bit had flipped, "emptied" when the metadata is no JSON and
        goes, "failed" when nothing can be done.
    reason : str
        What was wrong, and why it stays so.
    row : sequence or None
        What `checksums.ROW` is to be.
    """

    outcome: Literal["restored", "emptied", "failed"]
    reason: str
    row: Row | None = None


def restoration(db: sqlite3.Connection, fault: Fault) -> Restoration:
    """Find out what can be done for the row of a fault."""
    with sqlite.undecoded(db):
        query = f"SELECT {checksums.ROW}, row_checksum FROM items WHERE number = ?"
        *damaged, checksum = db.execute(query, (fault.number,)).fetchone()
    row = checksums.restored(damaged, checksum)
    if row and _is_taken(db, row):
        return Restoration("failed", f"{fault.reason}, and there is another item {row[1]!r} by now")
    if row and all(map(is_unicode, row)):
        return Restoration("restored", f"{fault.reason}: {_difference(damaged, row)}", row)
    if fault.kind == "metadata" and all(is_unicode(text) for text in damaged[:-1]):
        return Restoration("emptied", fault.reason, (*damaged[:-1], json.dumps({})))
    return Restoration("failed", f"{fault.reason}, and more than one bit is wrong: none of it can be trusted")


def rewrite(db: sqlite3.Connection, row: Row) -> None:
    """Write all of an item but its vector and thumbnail, also where SQLite's indexes do not fit it."""
    columns = ", ".join(f"{name} = ?" for name in (*checksums.ROW.split(", ")[1:], "row_checksum"))
    with _correcting(db):
        values = (*row[1:], checksums.of_row(row), row[0])
        db.execute(f"UPDATE items SET {columns} WHERE number = ?", values)


def remove(db: sqlite3.Connection, number: int) -> None:
    """Remove an item, also where SQLite's indexes do not fit it."""
    with _correcting(db):
        rows.remove_numbers(db, [number])


@contextmanager
def _correcting(db: sqlite3.Connection) -> Iterator[None]:
    """Inside, an entry that an index lacks is no error when its row is changed."""
    db.execute("PRAGMA writable_schema = ON")
    try:
        yield
    finally:
        db.execute("PRAGMA writable_schema = OFF")


def _is_taken(db: sqlite3.Connection, row: Row) -> bool:
    query = "SELECT 1 FROM items WHERE id = ? AND number != ?"
    return db.execute(query, (row[1], row[0])).fetchone() is not None


def _difference(damaged: Row, row: Row) -> str:
    names = zip(checksums.ROW.split(", "), damaged, row, strict=True)
    return next((f"the {name} was {old!r}" for name, new, old in names if new != old), "it was whole")
