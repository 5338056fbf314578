"""Make a damaged collection whole: only what is missing or damaged is embedded again."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from extractor.collections import restoring, rows
from extractor.collections.item import FileStamp, Item
from extractor.collections.reader import Reader
from extractor.collections.store import Store
from extractor.collections.verify import Fault, check_integrity, faults, remove_orphans
from extractor.errors import DamagedFile, FingerprintMismatch, InvalidArgument, Unavailable
from extractor.results import Embeds, Result

BATCH_ITEMS = 256

Outcome: TypeAlias = Literal["embedded", "changed", "restored", "emptied", "dropped", "failed"]


class Mended(NamedTuple):
    """What became of one item that was damaged.

    Attributes
    ----------
    id : str
    outcome : str
        "embedded" from the same bytes as before; "changed" when the file
        holds others by now, whose vector it has; "restored" when a flipped bit
        of its id, label, metadata or file was put right; "emptied" when its
        metadata could not be read and is gone; "dropped" when the item was
        removed; "failed" when it is as damaged as before.
    reason : str
        What was wrong, or why it could not be mended.
    """

    id: str
    outcome: Outcome
    reason: str


@dataclass(slots=True)
class Repair:
    """What a repair has done: how many items came to each end, and rows that belonged to nothing."""

    embedded: int = 0
    changed: int = 0
    restored: int = 0
    emptied: int = 0
    dropped: int = 0
    failed: int = 0
    orphans: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing damaged is left."""
        return not self.failed


Report: TypeAlias = Callable[[Mended], None]


def repair(store: Store, source: Embeds, report: Report, *, drop: bool = False) -> Repair:
    """Embed again what is missing or damaged, from the items' files, and remove what belongs to no item.

    A flipped bit in what else is kept of an item is put right from its
    checksum. Labels, metadata and thumbnails stay. What was mended when an error or
    Ctrl-C stops it is committed; run it again to go on.

    Parameters
    ----------
    store : Store
    source : Embeds
        Of the collection's fingerprint.
    report : callable
        Called once for each damaged item, when what became of it is on disk.
    drop : bool
        Remove the items that cannot be mended, as when their file is gone.

    Raises
    ------
    FingerprintMismatch
        When the source gives vectors of another backbone.
    DamagedFile
        When SQLite's own structure is damaged: no row can be trusted then.
    Unavailable
        When the collection cannot be written.
    """
    _require(store, source.fingerprint)
    mending = _Mending(store, drop, report)
    with store.reading() as reader:  # first, since of two items of one id SQLite makes no index
        mending.restore_rows(reader)
    _rebuild_indexes(store)
    with store.writing() as db:
        mending.done.orphans = remove_orphans(db)
    try:
        with store.reading() as reader:
            for result in source.stream(mending.paths(reader)):
                _require(store, result.fingerprint)  # a service can come back with another backbone
                mending.take(result)
    finally:
        mending.commit()
    return mending.done


class _Change(NamedTuple):
    """What is to be written for one fault; an item where it has a new vector, a row where all else is new."""

    fault: Fault
    outcome: Outcome
    reason: str
    item: Item | None = None
    row: restoring.Row | None = None


class _Waiting(NamedTuple):
    """A fault whose file is being embedded; its stamp was read before its bytes."""

    fault: Fault
    file: FileStamp
    digest: bytes


class _Mending:
    """A repair under way: what is being embedded, and what waits for its commit."""

    def __init__(self, store: Store, drop: bool, report: Report) -> None:
        self.done = Repair()
        self._store, self._drop, self._report = store, drop, report
        self._waiting: deque[_Waiting] = deque()
        self._batch: list[_Change] = []

    def restore_rows(self, reader: Reader) -> None:
        """Mend what is not of a vector."""
        for fault in faults(reader, self._store.meta.dim):
            if fault.kind == "vector":
                continue
            outcome, reason, row = restoring.restoration(reader.db, fault)
            if row:
                self._add(_Change(fault, outcome, reason, row=row))
            else:
                self._lose(fault, reason)
        self.commit()

    def paths(self, reader: Reader) -> Iterator[str]:
        """The files that are to be embedded; each fault is put into `_waiting` as its file leaves."""
        lost = 0
        for fault in faults(reader, self._store.meta.dim):
            if fault.kind != "vector":
                lost = fault.number  # which is told, and whose file may be another's
            if fault.number == lost:
                continue
            query = "SELECT source, digest FROM items WHERE number = ?"
            path, digest = reader.db.execute(query, (fault.number,)).fetchone()
            try:
                stamp = FileStamp.of(path or "")
            except (OSError, ValueError):
                gone = f"and its file {path} is gone" if path else "and no file is known of it"
                self._lose(fault, f"{fault.reason}, {gone}")
            else:
                self._waiting.append(_Waiting(fault, stamp, digest))
                yield path

    def take(self, result: Result) -> None:
        """Take what came of the oldest file that is being embedded."""
        fault, file, digest = self._waiting.popleft()
        if result.embedding is None:
            why = f"and its file {file.source} cannot be embedded: {result.error}"
            self._lose(fault, f"{fault.reason}, {why}")
            return
        try:
            item = Item(fault.id, result.embedding, result.digest or b"", file)
        except InvalidArgument as error:
            self._lose(fault, f"{fault.reason}, and {error}")
            return
        same = digest in (b"", item.digest)
        self._add(_Change(fault, "embedded" if same else "changed", fault.reason, item))

    def commit(self) -> None:
        """Write what waits, then report it. An item that was written anew meanwhile is left alone."""
        batch, self._batch = self._batch, []
        with self._store.writing() as db:
            made = [change for change in batch if _apply(db, change)]
        for change in made:
            setattr(self.done, change.outcome, getattr(self.done, change.outcome) + 1)
            self._report(Mended(change.fault.id, change.outcome, change.reason))

    def _lose(self, fault: Fault, reason: str) -> None:
        self._add(_Change(fault, "dropped" if self._drop else "failed", reason))

    def _add(self, change: _Change) -> None:
        self._batch.append(change)
        if len(self._batch) >= BATCH_ITEMS:
            self.commit()


def _apply(db: sqlite3.Connection, change: _Change) -> bool:
    """Write one change; False when the item is not the one that was damaged any more."""
    number = change.fault.number
    if db.execute("SELECT 1 FROM items WHERE number = ?", (number,)).fetchone() is None:
        return False
    if change.row is not None:
        restoring.rewrite(db, change.row)
    elif change.outcome == "dropped":
        restoring.remove(db, number)
    elif change.item is not None:
        _replace(db, number, change.item)
    return True


def _replace(db: sqlite3.Connection, number: int, item: Item) -> None:
    """Give an item another vector, and so another number."""
    query = "SELECT label, metadata FROM items WHERE number = ?"
    label, metadata = db.execute(query, (number,)).fetchone()
    jpeg = db.execute("SELECT jpeg FROM thumbnails WHERE number = ?", (number,)).fetchone()
    rows.remove_numbers(db, [number])
    facts = {"label": label, "metadata": json.loads(metadata), "thumbnail": jpeg[0] if jpeg else b""}
    rows.insert(db, [replace(item, **facts)])


def _rebuild_indexes(store: Store) -> None:
    """Let SQLite make its indexes anew when they do not fit; what is more than that cannot be mended here."""
    with store.reading() as reader:
        if not check_integrity(reader.db):
            return
    try:
        with store.writing() as db:
            db.execute("REINDEX")
        with store.reading() as reader:
            wrong = check_integrity(reader.db)
    except Unavailable as error:
        if not isinstance(error.__cause__, sqlite3.IntegrityError):
            raise
        wrong = (f"two items have one id ({error.__cause__})",)
    if wrong:
        raise DamagedFile(
            f"the collection {store.name!r} is damaged: {store.path}: {wrong[0]}. No row of it can be "
            "trusted: bring it back from a backup, or index the images again under another name"
        )


def _require(store: Store, fingerprint: str) -> None:
    if fingerprint != store.meta.fingerprint:
        raise FingerprintMismatch(f"the collection {store.name!r}", fingerprint, store.meta.fingerprint)
