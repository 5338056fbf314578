"""SQLite as this project uses it: durable connections, whole transactions, errors as sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from extractor.errors import DamagedFile, PenultimateError, Unavailable

BUSY_SECONDS = 30.0
"""How long a write waits for another process that is writing."""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database: `mode` is "rw", or "rwc" to make it. Transactions are begun by hand."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA synchronous = FULL")
    return db


@contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All that is done inside is committed at the end, or nothing."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the collection file `path` into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translation(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translation(path: Path, error: sqlite3.Error) -> PenultimateError:
    name = path.parent.name
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits hold details
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"another process has been writing to the collection {name!r} for over {BUSY_SECONDS:g} s; "
            "try again when it is done"
        )
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"the disk is full, so the collection {name!r} could not be written ({error}); what it held "
            f"before is safe. Make room where {path} lies and run the same again"
        )
    return Unavailable(f"the collection {name!r} could not be read or written at {path}: {error}")


def damaged(path: Path, reason: str) -> DamagedFile:
    """The error for a collection file that is not what was written."""
    return DamagedFile(
        f"the collection {path.parent.name!r} is damaged: {path}: {reason}. Move the folder {path.parent} "
        "away or bring it back from a backup, then index the images again"
    )
