"""What a collection's file looks like inside, and how an older one becomes it."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from extractor.collections import checksums, metadata, sqlite
from extractor.collections.metadata import Json
from extractor.errors import InvalidArgument

VERSION = 3

DEFAULT_THUMBNAILS = 128
"""Pixels of a thumbnail's longer side."""

_APPLICATION_ID = 0x70656E75  # "penu", so that no other SQLite file is taken for a collection
_PAGES = (16384, 32768, 65536)
_ROW_BYTES = 20  # of a vector's row beside the vector

_META = """CREATE TABLE meta (
    fingerprint TEXT NOT NULL,
    dim INTEGER NOT NULL,
    backbone TEXT NOT NULL,
    thumbnails INTEGER NOT NULL,
    settings TEXT NOT NULL,
    lineage TEXT NOT NULL
)"""
_ITEMS = """CREATE TABLE items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    source TEXT,
    size INTEGER,
    mtime_ns INTEGER,
    label TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    row_checksum INTEGER NOT NULL
)"""
_REMOVED = "CREATE TABLE removed (removal INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL)"
_BESIDE = (
    "CREATE TABLE vectors (number INTEGER PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE thumbnails (number INTEGER PRIMARY KEY, jpeg BLOB NOT NULL)",
    "CREATE INDEX items_by_digest ON items (digest)",
    "CREATE INDEX items_by_label ON items (label) WHERE label IS NOT NULL",
)
_FROM_1 = (
    "ALTER TABLE items ADD COLUMN label TEXT",
    "ALTER TABLE items ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'",
    *_BESIDE,
    "INSERT INTO vectors SELECT number, vector, checksum(number, vector) FROM items",
    "ALTER TABLE items DROP COLUMN vector",
    "ALTER TABLE meta RENAME TO meta_1",
    _META,
    f"""INSERT INTO meta
        SELECT fingerprint, dim, backbone, {DEFAULT_THUMBNAILS}, '{{}}', lineage() FROM meta_1""",
    "DROP TABLE meta_1",
    "PRAGMA user_version = 2",
)
# Texts go as bytes: one that is no Unicode any more shall not stop it.
_CHECKSUM = """row_checksum(number, CAST(id AS BLOB), digest, CAST(source AS BLOB), size, mtime_ns,
    CAST(label AS BLOB), CAST(metadata AS BLOB))"""
_FROM_2 = (
    "ALTER TABLE items ADD COLUMN row_checksum INTEGER NOT NULL DEFAULT 0",
    f"UPDATE items SET row_checksum = {_CHECKSUM}",
    "PRAGMA user_version = 3",
)
# A file that cannot be written is seen through these, which take the place of its tables.
_VIEWS_OF_1 = (
    f"""CREATE TEMP VIEW meta AS
        SELECT *, {DEFAULT_THUMBNAILS} AS thumbnails, '{{}}' AS settings, '' AS lineage FROM main.meta""",
    "CREATE TEMP VIEW vectors AS SELECT number, vector, checksum(number, vector) AS checksum FROM main.items",
    f"""CREATE TEMP VIEW items AS SELECT *, {_CHECKSUM} AS row_checksum FROM
        (SELECT number, id, digest, source, size, mtime_ns, NULL AS label, '{{}}' AS metadata
         FROM main.items)""",
    "CREATE TEMP TABLE thumbnails (number INTEGER PRIMARY KEY, jpeg BLOB NOT NULL)",
)
_VIEWS_OF_2 = (f"CREATE TEMP VIEW items AS SELECT *, {_CHECKSUM} AS row_checksum FROM main.items",)


class Meta(NamedTuple):
    """What all items of a collection share.

    Attributes
    ----------
    fingerprint : str
    dim : int
    backbone : str
    thumbnails : int
        Pixels of the longer side of thumbnails; 0 when none are kept.
    settings : mapping
        How its index is to be made, as JSON; empty for the defaults.
    """

    fingerprint: str
    dim: int
    backbone: str
    thumbnails: int = DEFAULT_THUMBNAILS
    settings: Mapping[str, Json] = {}


def write(db: sqlite3.Connection, meta: Meta) -> None:
    """Make an empty collection in a new file."""
    db.execute(f"PRAGMA page_size = {_page_size(meta.dim)}")
    db.execute("PRAGMA journal_mode = WAL")
    with sqlite.transaction(db):
        for statement in (_META, _ITEMS, _REMOVED, *_BESIDE):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        settings = metadata.dumped(meta.settings)
        row = (meta.fingerprint, int(meta.dim), meta.backbone, int(meta.thumbnails), settings, new_lineage())
        db.execute("INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?)", row)
    sqlite.put_in_place(db)


def read_meta(db: sqlite3.Connection) -> Meta:
    """What all items share."""
    query = "SELECT fingerprint, dim, backbone, thumbnails, settings FROM meta"
    fingerprint, dim, backbone, thumbnails, settings = db.execute(query).fetchone()
    return Meta(fingerprint, dim, backbone, thumbnails, json.loads(settings))


def prepare(path: Path, db: sqlite3.Connection, writable: bool) -> None:
    """Check that a connection leads to a collection, and bring an older one to this version.

    Raises
    ------
    DamagedFile
        When it is another program's file.
    InvalidArgument
        When a newer release wrote it.
    """
    if db.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
        raise sqlite.damaged(path, "not a collection's file")
    version = _version(db)
    if version not in range(1, VERSION + 1):
        raise InvalidArgument(
            f"the collection {path.parent.name!r} is of version {version}, written by another "
            f"release; this one reads version {VERSION}: use the release that wrote it"
        )
    db.create_function("checksum", 2, checksums.of_vector, deterministic=True)
    db.create_function("row_checksum", 8, _row_checksum, deterministic=True)
    if version < VERSION:
        _migrate(db) if writable else _view(db, version)


def is_collection(path: Path) -> bool:
    """Whether a file begins as a collection's does, whatever else is in it."""
    with path.open("rb") as file:
        head = file.read(72)  # SQLite's own words, and from byte 68 on whose file it is
    return head.startswith(b"SQLite format 3\0") and head[68:] == _APPLICATION_ID.to_bytes(4)


def new_lineage() -> str:
    """A name for the history of one file, so that a copy of it that goes its own way is told apart."""
    return uuid.uuid4().hex


def renew_lineage(db: sqlite3.Connection) -> None:
    """Begin a history of its own, as for a copy."""
    with sqlite.transaction(db):
        db.execute("UPDATE meta SET lineage = ?", (new_lineage(),))


def _migrate(db: sqlite3.Connection) -> None:
    db.create_function("lineage", 0, new_lineage)
    with sqlite.transaction(db):
        version = _version(db)  # another process may have been quicker
        for statement in (*(_FROM_1 if version < 2 else ()), *(_FROM_2 if version < VERSION else ())):
            db.execute(statement)


def _view(db: sqlite3.Connection, version: int) -> None:
    for statement in _VIEWS_OF_1 if version == 1 else _VIEWS_OF_2:
        db.execute(statement)


def _row_checksum(*row: Any) -> int:
    """`checksums.of_row` of a row whose texts come as bytes."""
    number, id, digest, source, size, mtime_ns, label, metadata = row
    return checksums.of_row(
        (number, _text(id), digest, _text(source), size, mtime_ns, _text(label), _text(metadata))
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="surrogateescape")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _page_size(dim: int) -> int:
    """The smallest page that rows of vectors fill to seven eighths: a row is never split over two."""
    row = 4 * dim + _ROW_BYTES
    filled = [size // row * row for size in _PAGES]
    good = (size for size, used in zip(_PAGES, filled, strict=True) if used >= size * 7 // 8)
    return next(good, _PAGES[0] if 2 * row > _PAGES[-1] else _PAGES[-1])
