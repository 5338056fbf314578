"""What tests of collections share: small collections of vectors of four values."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from extractor.collections import Collection, Item
from extractor.settings import DataFolder

ONE, OTHER = "1" * 64, "2" * 64
DIM = 4


def make(data: DataFolder, name: str = "cats", dim: int = DIM) -> Collection:
    return Collection.open_or_create(data, name, fingerprint=ONE, dim=dim, backbone="lite0")


def item(id: str, *values: float) -> Item:
    return Item(id, np.array(values, np.float32), digest=hashlib.sha256(id.encode()).digest())


def ids(collection: Collection, *query: float, k: int = 10) -> list[str]:
    (matches,) = collection.search([query], k)
    return [match.id for match in matches]


def store_file(data: DataFolder, name: str = "cats") -> Path:
    return data.collections / name / "items.sqlite"


def version_2(data: DataFolder, items: list[Item], name: str = "old") -> Path:
    """A collection as it was before its rows had checksums."""
    with make(data, name) as collection:
        collection.add(items)
    path = store_file(data, name)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("ALTER TABLE items DROP COLUMN row_checksum; PRAGMA user_version = 2;")
    return path


def version_1(path: Path) -> None:
    """A collection as the first release wrote it: two items, one of three removed."""
    path.parent.mkdir(parents=True)
    vectors = [np.eye(DIM, dtype="<f4")[number].tobytes() for number in range(3)]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            """PRAGMA journal_mode = WAL;
            CREATE TABLE meta (fingerprint TEXT NOT NULL, dim INTEGER NOT NULL, backbone TEXT NOT NULL);
            CREATE TABLE items (
                number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL,
                source TEXT, size INTEGER, mtime_ns INTEGER, vector BLOB NOT NULL);
            CREATE TABLE removed (removal INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL);
            PRAGMA application_id = 0x70656E75;
            PRAGMA user_version = 1;"""
        )
        db.execute("INSERT INTO meta VALUES (?, ?, 'lite0')", (ONE, DIM))
        insert = "INSERT INTO items (id, digest, source, size, mtime_ns, vector) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(insert, ("a", b"d" * 32, "/x/a.jpg", 12, 34, vectors[0]))
        db.execute(insert, ("b", b"", None, None, None, vectors[1]))
        db.execute(insert, ("c", b"", None, None, None, vectors[2]))
        db.execute("INSERT INTO removed (number) SELECT number FROM items WHERE id = 'c'")
        db.execute("DELETE FROM items WHERE id = 'c'")
