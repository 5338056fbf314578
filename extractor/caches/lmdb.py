"""A cache on disk that several processes share (LMDB).

Rows are written behind the caller by one thread that commits whatever has
gathered, so that a thousand images cost a few commits. A row is found by this
process at once, and survives `kill -9` from its commit on; LMDB itself stays
whole at any moment.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import lmdb

from extractor.caches import Row
from extractor.errors import Unavailable

log = logging.getLogger(__name__)

# Only address space: the file grows with what is written. A fixed size, because a map that grows must
# not do so while another thread or process reads.
_MAP_BYTES = 2**40
_MAX_READERS = 1024
_LOCK_BYTES = 128 * (_MAX_READERS + 2)
_MAX_WAITING_ROWS = 4096
_MAX_RECORD_BYTES = 2**18

# What LMDB says of a file that something else has written to.
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.MapResizedError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)


class LmdbCache:
    """Open the cache in `folder`, making it when it is not there.

    A cache that cannot be read (cut short, overwritten) is set aside under
    another name and begun anew, also while it is in use: its rows can be
    computed again.

    Raises
    ------
    Unavailable
        When the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._closed = False
        try:
            self._env = _Environment.of(folder)
        except (lmdb.Error, OSError) as error:
            raise Unavailable(f"the cache {folder} cannot be opened: {error}") from error

    @property
    def failures(self) -> int:
        """See `Cache`; of all who have this cache open in this process."""
        return self._env.failures

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `Cache`."""
        return self._env.get_many(keys)

    def put_many(self, rows: Mapping[bytes, Row]) -> None:
        """See `Cache`; waits when thousands of rows are not written yet."""
        self._env.put_many(rows)

    def flush(self) -> None:
        """See `Cache`."""
        self._env.flush()

    def close(self) -> None:
        """See `Cache`; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._env.release()


class _Environment:
    """One LMDB environment and its writer thread, shared by all who open the folder here.

    LMDB forbids opening one environment twice in a process.
    """

    _open: ClassVar[dict[Path, _Environment]] = {}
    _registry: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, folder: Path) -> _Environment:
        folder = folder.resolve()
        with cls._registry:
            env = cls._open.get(folder)
            if env is None:
                env = cls._open[folder] = cls(folder)
            env._users += 1
            return env

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users = 0
        self._file = _File(folder)
        self._damaged: list[_File] = []
        self._replacing = threading.Lock()
        self._waiting: dict[bytes, Row] = {}
        self._writing: dict[bytes, Row] = {}
        self._closing = False
        self._changed = threading.Condition()
        self._failed_at = float("-inf")
        self.failures = 0
        self._writer = threading.Thread(target=self._write_behind, name="cache-writer", daemon=True)
        self._writer.start()

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        with self._changed:
            found = [self._waiting.get(key) or self._writing.get(key) for key in keys]
        if all(found):
            return found
        file = self._file
        try:
            return [row or read for row, read in zip(found, file.read(keys), strict=True)]
        except _DAMAGE as error:
            self._begin_anew(file, error)
        except (lmdb.Error, ValueError) as error:
            if not self._closing:  # whoever still asks has been interrupted, and wants no answer
                self._complain("read", error)
        return found

    def put_many(self, rows: Mapping[bytes, Row]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < _MAX_WAITING_ROWS)
            self._waiting.update(rows)
            self._changed.notify_all()

    def flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing)

    def release(self) -> None:
        with self._registry:
            self._users -= 1
            if self._users:
                return
            del self._open[self._folder]
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._writer.join()
            for file in (self._file, *self._damaged):
                file.close()

    def _write_behind(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                self._writing, self._waiting = self._waiting, {}
                self._changed.notify_all()
            self._commit(self._writing)
            with self._changed:
                self._writing = {}
                self._changed.notify_all()

    def _commit(self, rows: Mapping[bytes, Row]) -> None:
        """Write `rows`, or count them lost: an image can be computed again."""
        file = self._file
        try:
            file.write(rows)
        except _DAMAGE as error:
            self._begin_anew(file, error)
        except Exception as error:  # noqa: BLE001 - the writer outlives it, or all would wait for ever
            self._complain("write to", error)

    def _begin_anew(self, damaged: _File, error: lmdb.Error) -> None:
        """Put an empty file in the place of a damaged one, which stays open: others may be reading it."""
        self._complain("read", error)
        with self._replacing:
            if self._file is not damaged:
                return
            try:
                if damaged.lies_in(self._folder):
                    _set_aside(self._folder, error)
                self._file = _File(self._folder)
                self._damaged.append(damaged)
            except (lmdb.Error, OSError) as failure:
                self._complain("replace", failure)

    def _complain(self, what: str, error: Exception) -> None:
        """Count it, and say it once a minute, not once an image."""
        self.failures += 1
        if time.monotonic() - self._failed_at > 60:
            self._failed_at = time.monotonic()
            free = shutil.disk_usage(self._folder).free / 2**20
            log.warning(
                "cannot %s the cache %s (%.0f MiB are free there), so images are computed again: %s",
                what,
                self._folder,
                free,
                error,
            )


class _File:
    """One LMDB environment, watched: reading behind a file's end is a bus error, not an exception."""

    def __init__(self, folder: Path) -> None:
        self._env = _open_or_begin_anew(folder)
        self._data = (folder / "data.mdb").open("rb")
        self._longest = 0

    def read(self, keys: Sequence[bytes]) -> list[Row | None]:
        self._check_length()
        with self._env.begin(buffers=True) as transaction:
            return [_whole(key, transaction.get(key)) for key in keys]

    def write(self, rows: Mapping[bytes, Row]) -> None:
        self._check_length()
        with self._env.begin(write=True) as transaction:
            for key, row in rows.items():
                transaction.put(key, row.to_bytes(key))
        self._check_length()  # so that the new length is known

    def lies_in(self, folder: Path) -> bool:
        """Whether the folder still has this file: another process may have begun another one there."""
        return os.path.samestat(os.fstat(self._data.fileno()), (folder / "data.mdb").stat())

    def close(self) -> None:
        self._env.close()
        self._data.close()

    def _check_length(self) -> None:
        """Raise when the file has become shorter, which LMDB never makes it."""
        longest = self._longest  # read before the file, which others may lengthen meanwhile
        length = os.fstat(self._data.fileno()).st_size
        if length < longest:
            raise lmdb.CorruptedError(f"its file of {longest:,} bytes was cut to {length:,}")
        self._longest = length


def _whole(key: bytes, record: memoryview | None) -> Row | None:
    """The row, unless its length is damaged: LMDB would have us read far behind the file's end."""
    if record is None or len(record) > _MAX_RECORD_BYTES:
        return None
    return Row.from_bytes(key, bytes(record))


def _open_or_begin_anew(folder: Path) -> lmdb.Environment:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _open_checked(folder)
    except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        _set_aside(folder, error)
        return _open_checked(folder)


def _set_aside(folder: Path, error: lmdb.Error) -> None:
    aside = folder.with_name(f"{folder.name}-damaged-{time.time_ns()}")
    folder.rename(aside)
    log.warning("the cache %s is damaged (%s): set aside as %s and begun anew", folder, error, aside)
    folder.mkdir()


def _open_checked(folder: Path) -> lmdb.Environment:
    _reserve_lock_file(folder / "lock.mdb")
    env = lmdb.open(str(folder), map_size=_MAP_BYTES, max_readers=_MAX_READERS)
    written = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    file = folder / "data.mdb"
    if 0 < file.stat().st_size < written:
        if written > _MAP_BYTES:
            env.close()
            raise lmdb.InvalidError(f"its header speaks of {written:,} bytes")
        # Reading behind a file's end is a bus error, not an exception. Lengthened, a file that was cut shows
        # itself by pages that are none, to whom they concern; one whose last pages were never used is whole.
        # To look through all of it here would end the process: LMDB's cursors take every page for good.
        os.truncate(file, written)
    env.reader_check()  # frees the places of readers that were killed
    return env


def _reserve_lock_file(file: Path) -> None:
    """Give the lock file its room now: on a full disk LMDB, which maps it, would end in a bus error."""
    with file.open("ab") as lock:
        os.posix_fallocate(lock.fileno(), 0, _LOCK_BYTES)
