"""The truth of a collection: one SQLite file, whose commits survive a power cut.

Every write is one transaction, in WAL mode with `synchronous=FULL`: when a
method returns, what it wrote is on disk; when it raises, nothing is. Each
written row gets a number that is never used again, and each removed one is
noted, so that whoever has read the store up to some `Generation` can read on
from there, whichever process wrote.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from extractor.collections import metadata as metadata_
from extractor.collections import rows, schema, sqlite
from extractor.collections.item import KEEP, Item, Keep
from extractor.collections.metadata import Json
from extractor.collections.reader import Block, Generation, Known, Reader
from extractor.collections.schema import Meta
from extractor.errors import AlreadyExists, InvalidArgument, NotFound, PenultimateError
from extractor.folders import locked, publishing, refusals, sync_folder
from extractor.settings import DataFolder, checked_name

__all__ = ["Block", "Generation", "Known", "Meta", "Reader", "Store", "store_path", "stored_names"]

FILE = "items.sqlite"


class Store:
    """An open collection file, safe to share between threads.

    Writers take turns; readers wait for nobody, and see the file as it was
    when they began.

    Parameters
    ----------
    path : Path
        The file, which must exist. One that an older release wrote is brought
        to this one's form, in one transaction, unless it can only be read here.
    writable : bool
        Without it the file stays as it is, whatever can be done here.

    Raises
    ------
    DamagedFile
        When it is not a collection, or a damaged one.
    InvalidArgument
        When a newer version of this program wrote it.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self._path = path
        self._database = sqlite.Database(path, partial(schema.prepare, path), writable)
        with sqlite.translated(path):
            try:
                self.meta = schema.read_meta(self._database.writer)
            except BaseException:
                self._database.close()
                raise

    @classmethod
    def create(cls, path: Path, meta: Meta) -> Store:
        """Make an empty store; the file appears whole or not at all.

        Raises
        ------
        AlreadyExists
            When the file is there, or another process was quicker.
        InvalidArgument
            When the disk is full or the place cannot be written.
        """
        with refusals(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Locked, so that nobody's file is replaced: hard links, which refuse that, are not everywhere.
            with locked(path.parent.parent):
                if path.exists():
                    raise AlreadyExists(f"there is a collection {path.parent.name!r} already")
                with (
                    publishing(path) as draft,
                    sqlite.translated(path),
                    closing(sqlite.connect(draft, "rwc")) as db,
                ):
                    schema.write(db, meta)
            sync_folder(path.parent)
        return cls(path)

    @classmethod
    def find(cls, data: DataFolder, name: str) -> Store:
        """Open the store of a collection.

        Raises
        ------
        NotFound
            When there is none of that name; the message says which there are.
        """
        path = store_path(data, name)
        if path.exists():
            return cls(path)
        there = ", ".join(stored_names(data))
        advice = (
            f"there are: {there}"
            if there
            else "there are none yet: make one with `penultimate index NAME PATH...`"
        )
        raise NotFound(f"there is no collection {name!r}; {advice}")

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._path.parent.name

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def nbytes(self) -> int:
        """What it takes on disk, with what has been written but not yet put in its place."""
        return sum(map(_size, (self._path, self._path.with_name(f"{FILE}-wal"))))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction for what has no method here; on disk when the block ends, undone when it raises."""
        with self._database.writing() as db:
            yield db

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Read, as of one moment.

        Raises
        ------
        Unavailable
            When the file can only be read here, and was written meanwhile.
        """
        with self._database.reading() as db:
            reader = Reader(db, self._path, self.meta.dim)
            try:
                yield reader
            finally:
                reader.end()

    def put(self, items: Iterable[Item], *, replace: bool = True) -> list[str]:
        """Write items, all in one commit; each gets a new number.

        Parameters
        ----------
        items : iterable of Item
            With vectors of the store's width, which is not looked at again.
        replace : bool
            Those of ids that are there take their place, and of equal ids
            among the items the last stays. Without it, the first stays.

        Returns
        -------
        list of str
            The ids of which there was an item already, which was replaced, or stayed.
        """
        batch = list(items)
        with self.writing() as db:
            fresh, there = rows.without_known(db, batch)
            if replace:
                fresh = list({item.id: item for item in batch}.values())
                _remove(db, [item.id for item in fresh])
            rows.insert(db, fresh)
        return there

    def remove(self, ids: Iterable[str]) -> int:
        """Remove items; return how many of them there were."""
        ids = _several(ids)
        with self.writing() as db:
            return rows.remove(db, ids)

    def set(
        self,
        ids: Iterable[str],
        *,
        label: str | Keep | None = KEEP,
        metadata: Mapping[str, Json] | None = None,
    ) -> int:
        """Change the label and metadata of items, all in one commit; their numbers stay.

        Parameters
        ----------
        ids : iterable of str
            Those that are not there are passed over.
        label : str, None or KEEP
            None takes the label away.
        metadata : mapping, optional
            Its keys are set; those that are None are removed; others stay.

        Returns
        -------
        int
            How many of the items there were.

        Raises
        ------
        InvalidArgument
            When a label or what the metadata becomes cannot be stored.
        """
        ids = _several(ids)
        with self.writing() as db:
            return sum(rows.change(db, id, label, metadata or {}) for id in dict.fromkeys(ids))

    @contextmanager
    def configured(self, settings: Mapping[str, Json]) -> Iterator[None]:
        """Keep how the index is to be made; as it was before, when the block raises."""
        before = self.meta.settings
        self.configure(settings)
        try:
            yield
        except BaseException:
            with suppress(PenultimateError):  # what stopped the block is what there is to say
                self.configure(before)
            raise

    def configure(self, settings: Mapping[str, Json]) -> None:
        """Keep how the index is to be made."""
        text = metadata_.dumped(metadata_.checked(settings, f"the index of {self.name!r}"))
        with self.writing() as db:
            db.execute("UPDATE meta SET settings = ?", (text,))
        self.meta = self.meta._replace(settings=json.loads(text))


def _remove(db: sqlite3.Connection, ids: list[str]) -> None:
    """Remove items that others take the place of, also where SQLite's indexes do not fit them."""
    db.execute("SAVEPOINT removing")
    try:
        rows.remove(db, ids)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_INDEX:
            raise
        db.execute("ROLLBACK TO removing")
        db.execute("REINDEX")
        rows.remove(db, ids)
    db.execute("RELEASE removing")


def _several(ids: Iterable[str]) -> Iterable[str]:
    """The ids, which are no text: each letter of that would be taken for an id."""
    if isinstance(ids, str):
        raise InvalidArgument(f"the ids must be a list of texts, not the text {ids!r}")
    return ids


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # SQLite removes its log when the last one closes
        return 0


def stored_names(data: DataFolder) -> list[str]:
    """The collections in a data folder, in order."""
    return sorted(file.parent.name for file in data.collections.glob(f"*/{FILE}"))


def store_path(data: DataFolder, name: str) -> Path:
    """Where the collection of that name lies; InvalidArgument when no file can be called so."""
    return data.collections / checked_name("collection", name) / FILE
