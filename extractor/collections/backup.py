"""A copy of a collection's file that is of one moment, made while others write; and back from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from extractor.collections import schema, sqlite
from extractor.collections.store import Store, store_path
from extractor.errors import AlreadyExists, DamagedFile, InvalidArgument, NotFound, Unavailable
from extractor.folders import locked, publishing, refusals, sync_folder
from extractor.settings import DataFolder

_PAGES = 256


class Backup(NamedTuple):
    """What was copied.

    Attributes
    ----------
    path : Path
    items : int
    nbytes : int
        Of the file.
    """

    path: Path
    items: int
    nbytes: int


def backup(store: Store, target: Path) -> Backup:
    """Copy a collection into one file, which appears whole; searches and writes go on meanwhile.

    What is committed after it has begun is not in it. An older backup that is
    at `target` is replaced at the end; no other file is.

    Parameters
    ----------
    store : Store
    target : Path
        A new file, such as `/backups/cats.sqlite`; its folder is made.

    Raises
    ------
    InvalidArgument
        When the place cannot be written, is the collection itself, or holds
        another kind of file.
    Unavailable
        When there is no room for it.
    DamagedFile
        When the collection cannot be read.
    """
    if target.is_dir() or (target.exists() and target.samefile(store.path)):
        raise InvalidArgument(
            f"{target} cannot be the backup's file: name a new one, such as {store.name}.sqlite"
        )
    if target.exists() and not schema.is_collection(target):
        raise InvalidArgument(f"{target} is there and no backup, so it is not replaced: name another file")
    with store.reading() as reader, refusals(target, "--out"), publishing(target) as draft:
        items = len(reader)
        _copy(reader.db, draft, target)
    sync_folder(target.absolute().parent)
    return Backup(target, items, target.stat().st_size)


def restore(data: DataFolder, name: str, source: Path) -> Backup:
    """Make a collection of a backup, whole or not at all; the backup stays as it is.

    Parameters
    ----------
    data : DataFolder
    name : str
        Of the collection, which must not be there yet.
    source : Path

    Raises
    ------
    NotFound
        When there is no such backup.
    AlreadyExists
        When there is a collection of that name.
    DamagedFile, InvalidArgument
        When the file is no collection's, damaged, or a newer release's; when
        the place cannot be written.
    """
    path = store_path(data, name)
    if not source.is_file():
        raise NotFound(f"there is no backup at {source}")
    with _as_backup(source), closing(Store(source, writable=False)) as store, refusals(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent.parent):
            if path.exists():
                raise AlreadyExists(
                    f"there is a collection {name!r} already: restore under another name, or remove that one"
                )
            return _restored(store, path)


@contextmanager
def _as_backup(source: Path) -> Iterator[None]:
    """What is wrong with a file that shall be restored, said of a backup: no collection is damaged."""
    try:
        yield
    except DamagedFile as error:
        raise DamagedFile(f"{source} is no backup, or a damaged one: name another") from error


def _restored(store: Store, path: Path) -> Backup:
    with store.reading() as reader:
        (wrong,) = reader.db.execute("PRAGMA quick_check(1)").fetchone()
        if wrong != "ok":
            raise DamagedFile(wrong)
        items = len(reader)
        with publishing(path) as draft:
            _copy(reader.db, draft, path)
    sync_folder(path.parent)
    return Backup(path, items, path.stat().st_size)


def _copy(db: sqlite3.Connection, draft: Path, target: Path) -> None:
    """Copy what an open transaction of `db` sees; the copy's history is its own from there on."""
    try:
        with closing(sqlite.connect(draft, "rwc")) as copy:
            # The transaction pins what is read, so no writer makes the copying begin again.
            db.backup(copy, pages=_PAGES)
            schema.prepare(target, copy, writable=True)
            schema.renew_lineage(copy)
            sqlite.put_in_place(copy)
    except sqlite3.OperationalError as error:
        if sqlite.no_room(error):
            raise Unavailable(
                f"there is no room for the copy at {target} ({error}); nothing was changed there. Make room, "
                "or choose another place"
            ) from error
        raise
