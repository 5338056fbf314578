"""SQLite as this project uses it: durable connections, whole transactions, errors as sentences."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from extractor.collections import checksums
from extractor.errors import DamagedFile, InvalidArgument, NotFound, PenultimateError, Unavailable

BUSY_SECONDS = 30.0
"""How long a write waits for another process that is writing."""

_WAL_BYTES = 64 * 2**20
_SPARE_READERS = 8
_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,  # this and the others: quotas, limits on the size of files
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


class Database:
    """An open file: one connection that writes, and others that read beside it.

    Safe to share between threads: those that write take turns, those that
    read have a connection each and wait for nobody.

    Parameters
    ----------
    path : Path
        The file, which must exist.
    prepare : callable
        Is given every new connection, and whether it can write.
    writable : bool
        Whether it may be written at all.
    """

    def __init__(
        self, path: Path, prepare: Callable[[sqlite3.Connection, bool], None], writable: bool = True
    ) -> None:
        self._path, self._prepare = path, prepare
        self._writers, self._lock = threading.RLock(), threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._open = True
        self._identity = _identity(path)
        with translated(path):
            self.writer, self._mode, self._state = connect_existing(path, writable)
            try:
                prepare(self.writer, self._mode == "rw")
            except BaseException:
                self.writer.close()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when the block ends, or undone when it raises.

        Raises
        ------
        NotFound
            When the file has been taken away, and what was written with it.
        """
        with self._writers, translated(self._path):
            self._require_open()
            with transaction(self.writer):
                yield self.writer
            self._require_there()  # afterwards: a file that is there now was there at the commit

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees the file as it was at its first reading.

        Raises
        ------
        Unavailable
            When the file can only be read here, and was written meanwhile.
        """
        try:
            with translated(self._path), self._reader() as db, transaction(db, "DEFERRED"):
                yield db
        finally:
            self._check_unwritten()

    def close(self) -> None:
        """Close every connection, those in use as soon as they are given back; wait for a write."""
        with self._lock:
            self._open = False
            idle, self._idle = self._idle, []
        with self._writers, translated(self._path):
            for db in (*idle, self.writer):  # the one that can write last: it clears up
                db.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        db, kept = self._take(), False
        try:
            yield db
            # After an error it is not used again: a traceback may hold a cursor, and with it an old moment.
            with self._lock:
                kept = self._open and len(self._idle) < _SPARE_READERS
                if kept:
                    self._idle.append(db)
        finally:
            if not kept:
                db.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            self._require_open()
            if self._idle:
                return self._idle.pop()
        self._require_there()
        db = connect(self._path, "ro" if self._mode == "rw" else self._mode)
        try:
            self._prepare(db, False)
            self._require_there()
        except BaseException:
            db.close()
            raise
        return db

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable(f"the collection {self._path.parent.name!r} has been closed here")

    def _require_there(self) -> None:
        """The file that is open must be the one at its path; another there is another collection."""
        if self._identity != _identity(self._path):
            raise NotFound(
                f"the collection {self._path.parent.name!r} has been dropped or replaced since it was opened "
                "here, and what is written to it is lost: open it again"
            )

    def _check_unwritten(self) -> None:
        if self._state and self._state != FileState.of(self._path):
            raise Unavailable(
                f"the collection {self._path.parent.name!r} is being written by another process, which "
                "cannot be followed in a folder that is read-only here; try again when it is done"
            )


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database: `mode` is SQLite's, such as "rwc" to make it. Transactions are begun by hand."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        db.execute("PRAGMA synchronous = FULL")  # reads the file, for which SQLite may make others beside it
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    except BaseException:
        db.close()
        raise
    return db


def connect_existing(path: Path, writable: bool = True) -> tuple[sqlite3.Connection, str, FileState | None]:
    """Open a database to write, or only to read where nothing can be or shall be written.

    Returns
    -------
    sqlite3.Connection
    str
        The mode in which it could be opened; "rw" to write.
    FileState or None
        When nobody had the file open to write and we cannot lock it either:
        what is read holds only while the file stays in this state.
    """
    try:
        if writable:
            return connect(path, "rw"), "rw", None
    except sqlite3.OperationalError as error:
        if _code(error) not in _UNWRITABLE or not path.exists():
            raise
    state = FileState.of(path)
    if state.written:
        return connect(path, "ro"), "ro", None
    return connect(path, "ro&immutable=1"), "ro&immutable=1", state


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
def undecoded(db: sqlite3.Connection) -> Iterator[None]:
    """Inside, a text that is no Unicode, as a flipped bit makes it, is read with its bytes as surrogates."""
    db.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        yield
    finally:
        db.text_factory = str


def put_in_place(db: sqlite3.Connection) -> None:
    """Move all that is in the log into the file, which is then whole alone; closing would do so, or not tell.

    Raises
    ------
    sqlite3.OperationalError
        When there is no room for it.
    """
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the collection file `path` into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translation(path, error) from error
    except json.JSONDecodeError:
        raise damaged_rows(path, "an item's metadata is no JSON") from None
    except checksums.DamagedRow as error:
        raise damaged_rows(path, str(error)) from None
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{error.object!r} is not valid Unicode, which all texts here must be"
        ) from None


def _translation(path: Path, error: sqlite3.Error) -> PenultimateError:
    name = path.parent.name
    code = _code(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    if "malformed JSON" in str(error):
        return damaged_rows(path, "an item's metadata is no JSON")
    if "Could not decode to UTF-8" in str(error):
        return damaged_rows(path, "a text of an item is no Unicode")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"another process has been writing to the collection {name!r} for over {BUSY_SECONDS:g} s; "
            "try again when it is done"
        )
    if no_room(error):
        return Unavailable(
            f"the disk is full, so the collection {name!r} could not be written ({error}); what it held "
            f"before is safe. Make room where {path} lies, or in your quota, and run the same again"
        )
    if code in _UNWRITABLE:
        return Unavailable(
            f"the collection {name!r} cannot be written here ({error}): make the folder {path.parent} "
            "writable, or choose another with --data"
        )
    return Unavailable(f"the collection {name!r} could not be read or written at {path}: {error}")


def no_room(error: sqlite3.Error) -> bool:
    """Whether a write was refused: the disk or a quota is full, or a file may not grow."""
    return getattr(error, "sqlite_errorcode", 0) in _NO_ROOM


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path; None for none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def _code(error: sqlite3.Error) -> int:
    """SQLite's result code; its upper bits, which hold details, are left out."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged_rows(path: Path, reason: str) -> DamagedFile:
    """The error for a collection file of which some rows are not what was written."""
    name = path.parent.name
    return DamagedFile(
        f"the collection {name!r} is damaged: {path}: {reason}. `penultimate collections repair {name}` "
        "embeds what is damaged again from its file; or bring back a backup"
    )


def damaged(path: Path, reason: str) -> DamagedFile:
    """The error for a collection file that is not what was written."""
    return DamagedFile(
        f"the collection {path.parent.name!r} is damaged: {path}: {reason}. Move the folder {path.parent} "
        "away or bring it back from a backup, then index the images again"
    )
