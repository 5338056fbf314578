"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from extractor.errors import DamagedFile, InvalidArgument, NotFound

T = TypeVar("T")

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_READINGS = 10


def publish_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Make the folder `path` in one step: all of it appears, or nothing changes.

    A folder that is there already stays readable to the last moment and is then
    exchanged for the new one. What is written is on disk when this returns.
    What a writer that was killed has left behind is removed.

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
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with locked(path.parent):
                draft = stack.enter_context(_draft_of(path))
                stack.enter_context(_claimed(draft))
            write(draft)
            draft.chmod(0o755)
            _sync(draft)
            with locked(path.parent):
                _put(draft, path)
                sync_folder(path.parent)
                _clear(path)


def read_folder(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the folder at `path`, where every file is of one moment.

    Between one file and the next the folder can be exchanged by
    `publish_folder`; what looks damaged or gone is then read again.

    Parameters
    ----------
    path : Path
    read : callable
        Is given `path`; notices itself when files do not fit together.
    """
    for _ in range(_READINGS):
        before = _identity(path)
        try:
            return read(path)
        except (DamagedFile, NotFound):
            if _identity(path) == before:
                raise
    return read(path)


def remove_folder(path: Path) -> None:
    """Remove the folder `path` in one step: all of it is gone at once, though its files take a little.

    Raises
    ------
    NotFound
        When another was quicker.
    InvalidArgument
        When the place cannot be written.
    """
    with refusals(path), locked(path.parent), _draft_of(path) as draft:
        try:
            path.rename(draft / path.name)
        except FileNotFoundError:
            raise NotFound(f"there is no {path.name!r}") from None
        sync_folder(path.parent)
        _clear(path)


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Give a draft of the file `path`, which appears there, whole, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _draft_of(path) as folder:
        draft = folder / path.name
        yield draft
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.replace(path)


@contextmanager
def refusals(path: Path, option: str = "--data") -> Iterator[None]:
    """Turn what the system has against writing `path` into a sentence with the way out.

    Parameters
    ----------
    path : Path
        As the user knows it.
    option : str
        Where the user can choose another place.

    Raises
    ------
    InvalidArgument
        For any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # pyarrow's own text is longer
        folder = path.absolute().parent
        absent = isinstance(error, FileNotFoundError) and not folder.is_dir()
        way = f"Make the folder {folder}" if absent else "Free some space or make the folder writable"
        raise InvalidArgument(
            f"cannot write {path}: {reason}; nothing was changed. {way}, or choose another with {option}"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who begins or ends a draft in `folder`; wait while another does."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`; what is left of it in the end is removed."""
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _claimed(draft: Path) -> Iterator[None]:
    """Mark a draft as somebody's; the mark goes when its process does.

    Raises
    ------
    BlockingIOError
        When it is another's.
    """
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove the drafts of `path` that are nobody's: their writers were killed."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}-*"):
        with suppress(OSError), _claimed(draft):
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
            sync_folder(file)
        else:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns
