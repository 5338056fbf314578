"""SQLite as this project uses it: durable connections, whole transactions, errors as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from extractor.errors import DamagedFile, PenultimateError, Unavailable

BUSY_SECONDS = 30.0
"""How long a write waits for another process that is writing."""

_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database: `mode` is SQLite's, such as "rwc" to make it. Transactions are begun by hand."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        db.execute("PRAGMA synchronous = FULL")  # reads the file, for which SQLite may make others beside it
    except BaseException:
        db.close()
        raise
    return db


def connect_existing(path: Path) -> tuple[sqlite3.Connection, FileState | None]:
    """Open a database to write, or only to read where nothing can be written.

    Returns
    -------
    sqlite3.Connection
    FileState or None
        When nobody had the file open to write and we cannot lock it either:
        what is read holds only while the file stays in this state.
    """
    try:
        return connect(path, "rw"), None
    except sqlite3.OperationalError as error:
        if _code(error) not in _UNWRITABLE:
            raise
    state = FileState.of(path)
    if state.written:
        return connect(path, "ro"), None
    return connect(path, "ro&immutable=1"), state


class FileState(NamedTuple):
    """What tells whether somebody writes, or has written, to a database."""

    size: int
    mtime_ns: int
    written: bool

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Look at the file, and for the log that lies beside it while it is open to write."""
        state = path.stat()
        return cls(state.st_size, state.st_mtime_ns, path.with_name(f"{path.name}-wal").exists())


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


def _translation(path: Path, error: sqlite3.Error) -> PenultimateError:
    name = path.parent.name
    code = _code(error)
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
    if code in _UNWRITABLE:
        return Unavailable(
            f"the collection {name!r} cannot be written here ({error}): make the folder {path.parent} "
            "writable, or choose another with --data"
        )
    return Unavailable(f"the collection {name!r} could not be read or written at {path}: {error}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's result code; its upper bits, which hold details, are left out."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(path: Path, reason: str) -> DamagedFile:
    """The error for a collection file that is not what was written."""
    return DamagedFile(
        f"the collection {path.parent.name!r} is damaged: {path}: {reason}. Move the folder {path.parent} "
        "away or bring it back from a backup, then index the images again"
    )
