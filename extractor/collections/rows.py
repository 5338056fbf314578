"""The SQL that writes items: for a transaction that the caller has begun and will commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from itertools import count

from extractor.collections import checksums
from extractor.collections import metadata as metadata_
from extractor.collections.item import KEEP, FileStamp, Item, Keep, check_label
from extractor.collections.metadata import Json

REMOVALS_KEPT = 2**20
"""A reader that is further behind reads everything anew."""


def without_known(db: sqlite3.Connection, items: list[Item]) -> tuple[list[Item], list[str]]:
    """The items whose ids are new, and the ids of the others."""
    fresh: dict[str, Item] = {}
    refused = []
    for item in items:
        if item.id in fresh or db.execute("SELECT 1 FROM items WHERE id = ?", (item.id,)).fetchone():
            refused.append(item.id)
        else:
            fresh[item.id] = item
    return list(fresh.values()), refused


def insert(db: sqlite3.Connection, items: list[Item]) -> None:
    """Write items whose ids are not there, each under the next number."""
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    numbered = list(zip(count((last[0] if last else 0) + 1), items))
    db.executemany(
        f"INSERT INTO items ({checksums.ROW}, row_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_row(number, item) for number, item in numbered),
    )
    vectors = ((number, item.vector.astype("<f4").tobytes()) for number, item in numbered)
    db.executemany(
        "INSERT INTO vectors (number, vector, checksum) VALUES (?, ?, ?)",
        ((number, vector, checksums.of_vector(number, vector)) for number, vector in vectors),
    )
    db.executemany(
        "INSERT INTO thumbnails (number, jpeg) VALUES (?, ?)",
        ((number, item.thumbnail) for number, item in numbered if item.thumbnail),
    )


def _row(number: int, item: Item) -> tuple[object, ...]:
    file = item.file or (None, None, None)
    row = (number, item.id, item.digest, *file, item.label, metadata_.dumped(item.metadata))
    return (*row, checksums.of_row(row))


def remove(db: sqlite3.Connection, ids: Iterable[str]) -> int:
    """Remove items and note their numbers; return how many of them there were."""
    query = "SELECT number FROM items WHERE id = ?"
    found = (db.execute(query, (id,)).fetchone() for id in dict.fromkeys(ids))
    return remove_numbers(db, [row[0] for row in found if row])


def remove_numbers(db: sqlite3.Connection, numbers: list[int]) -> int:
    """Remove the items of these numbers, all of which are there; return how many they are."""
    keys = [(number,) for number in numbers]
    db.executemany("INSERT INTO removed (number) VALUES (?)", keys)
    for table in ("vectors", "thumbnails", "items"):
        db.executemany(f"DELETE FROM {table} WHERE number = ?", keys)
    db.execute(
        "DELETE FROM removed WHERE removal <= (SELECT max(removal) FROM removed) - ?", (REMOVALS_KEPT,)
    )
    return len(keys)


def rename(db: sqlite3.Connection, id: str, new: str) -> bool:
    """Give an item another id; False when it is not there, or the id is another's."""
    row = db.execute(f"SELECT {checksums.ROW}, row_checksum FROM items WHERE id = ?", (id,)).fetchone()
    if row is None or db.execute("SELECT 1 FROM items WHERE id = ?", (new,)).fetchone():
        return False
    number, _, *rest = checksums.checked(row)
    checksum = checksums.of_row((number, new, *rest))
    db.execute("UPDATE items SET id = ?, row_checksum = ? WHERE number = ?", (new, checksum, number))
    return True


def change(
    db: sqlite3.Connection,
    id: str,
    label: str | Keep | None,
    metadata: Mapping[str, Json],
    file: FileStamp | None = None,
) -> bool:
    """Set the label, merge the metadata, and renew the stamp if given, of one item; whether it is there."""
    row = db.execute(f"SELECT {checksums.ROW}, row_checksum FROM items WHERE id = ?", (id,)).fetchone()
    if row is None:
        return False
    number, _, digest, *stamp, old, text = checksums.checked(row)
    new = old if label is KEEP else label
    check_label(new, id)
    facts = metadata_.checked(metadata_.merged(json.loads(text), metadata), f"item {id!r}")
    values = (*(file or stamp), new, metadata_.dumped(facts))
    checksum = checksums.of_row((number, id, digest, *values))
    changed = "source = ?, size = ?, mtime_ns = ?, label = ?, metadata = ?, row_checksum = ?"
    db.execute(f"UPDATE items SET {changed} WHERE number = ?", (*values, checksum, number))
    return True
