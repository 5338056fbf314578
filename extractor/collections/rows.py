"""The SQL that writes items: for a transaction that the caller has begun and will commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from itertools import count

from extractor.collections import metadata as metadata_
from extractor.collections import schema
from extractor.collections.item import KEEP, Item, Keep, check_label
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
        """INSERT INTO items (number, id, digest, source, size, mtime_ns, label, metadata)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (_row(number, item) for number, item in numbered),
    )
    vectors = ((number, item.vector.astype("<f4").tobytes()) for number, item in numbered)
    db.executemany(
        "INSERT INTO vectors (number, vector, checksum) VALUES (?, ?, ?)",
        ((number, vector, schema.checksum(number, vector)) for number, vector in vectors),
    )
    db.executemany(
        "INSERT INTO thumbnails (number, jpeg) VALUES (?, ?)",
        ((number, item.thumbnail) for number, item in numbered if item.thumbnail),
    )


def _row(number: int, item: Item) -> tuple[object, ...]:
    file = item.file or (None, None, None)
    return (number, item.id, item.digest, *file, item.label, metadata_.dumped(item.metadata))


def remove(db: sqlite3.Connection, ids: Iterable[str]) -> int:
    """Remove items and note their numbers; return how many of them there were."""
    keys = [(id,) for id in dict.fromkeys(ids)]
    (before,) = db.execute("SELECT coalesce(max(removal), 0) FROM removed").fetchone()
    db.executemany("INSERT INTO removed (number) SELECT number FROM items WHERE id = ?", keys)
    for table in ("vectors", "thumbnails"):
        db.execute(
            f"DELETE FROM {table} WHERE number IN (SELECT number FROM removed WHERE removal > ?)", (before,)
        )
    found = db.executemany("DELETE FROM items WHERE id = ?", keys).rowcount
    db.execute(
        "DELETE FROM removed WHERE removal <= (SELECT max(removal) FROM removed) - ?", (REMOVALS_KEPT,)
    )
    return found


def change(db: sqlite3.Connection, id: str, label: str | Keep | None, metadata: Mapping[str, Json]) -> bool:
    """Set the label, and merge the metadata, of one item; return whether it is there."""
    row = db.execute("SELECT label, metadata FROM items WHERE id = ?", (id,)).fetchone()
    if row is None:
        return False
    new = row[0] if label is KEEP else label
    check_label(new, id)
    facts = metadata_.checked(metadata_.merged(json.loads(row[1]), metadata), f"item {id!r}")
    db.execute("UPDATE items SET label = ?, metadata = ? WHERE id = ?", (new, metadata_.dumped(facts), id))
    return True
