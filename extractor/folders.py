"""Folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from extractor.errors import InvalidArgument

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def publish_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Make the folder `path` in one step: all of it appears, or nothing changes.

    A folder that is there already stays readable to the last moment and is then
    exchanged for the new one. What is written is on disk when this returns.

    Parameters
    ----------
    path : Path
        Where it shall be; missing parents are made.
    write : callable
        Is given an empty folder and writes every file into it.

    Raises
    ------
    InvalidArgument
        When the disk is full or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft_of(path) as draft:
            write(draft)
            draft.chmod(0o755)
            _sync(draft)
            with _locked(path.parent):
                _put(draft, path)
                _sync_folder(path.parent)
    except OSError as error:
        raise InvalidArgument(
            f"cannot write {path}: {error.strerror or error}; nothing was changed. Free some space or make "
            "the folder writable, or choose another with --data"
        ) from error


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`; what is left of it in the end is removed."""
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, path: Path) -> None:
    """Rename `draft` to `path`; what was at `path` takes the draft's place."""
    if not path.exists():
        draft.rename(path)
    elif not _exchange(draft, path):
        # A file system without the exchange: for a moment nothing is at `path`.
        aside = draft.with_name(draft.name + "-old")
        path.rename(aside)
        draft.rename(path)
        aside.rename(draft)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where the system can: `os.rename` replaces only empty ones."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_dir():
            _sync_folder(file)
        else:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
