"""From image files into a collection, in small commits, so that an interrupted job can go on."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from extractor.collections.collection import Collection
from extractor.collections.item import FileStamp, Item
from extractor.collections.store import Known
from extractor.errors import PenultimateError
from extractor.results import Embeds, Result

BATCH_ITEMS = 256
BATCH_SECONDS = 0.5

Status: TypeAlias = Literal["new", "updated", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of one file.

    Attributes
    ----------
    path : str
        As it was given.
    status : str
        "new", "updated" and "unchanged" files are in the collection, on disk.
    cached : bool
        The vector was remembered, not computed.
    error : str
        Why it failed.
    """

    path: str
    status: Status
    cached: bool = False
    error: str = ""


Report: TypeAlias = Callable[[Filed], None]


def add_files(collection: Collection, source: Embeds, paths: Iterable[str], report: Report) -> None:
    """Add image files, each under its absolute path as id.

    A file whose path, size and time are those of its item is passed over
    unread; one with the same content counts as unchanged, too. Whatever was
    embedded when an error or Ctrl-C stops the job is still committed.

    Parameters
    ----------
    collection : Collection
    source : Embeds
        Of the collection's fingerprint.
    paths : iterable of str
        Read lazily.
    report : callable
        Called once for each file, when it is on disk or has failed.

    Raises
    ------
    FingerprintMismatch
        When the source gives vectors of another backbone.
    Unavailable
        When the collection cannot be written.
    """
    collection.require(source.fingerprint)
    waiting: deque[_File] = deque()
    batch = _Batch(collection, report)
    try:
        for result in source.stream(_changed(collection, paths, waiting, report)):
            file = waiting.popleft()
            try:
                item = file.item(result)
            except PenultimateError as error:
                report(Filed(file.path, "failed", error=str(error)))
                continue
            collection.require(result.fingerprint)  # a service can come back with another backbone
            batch.add(item, Filed(file.path, file.status(result), result.cached))
    finally:
        batch.commit()


class _File(NamedTuple):
    """A file on its way through the source; its stamp was read before its bytes."""

    path: str
    id: str
    stamp: FileStamp | None
    known: Known | None

    def item(self, result: Result) -> Item:
        if result.embedding is None:
            assert result.error is not None
            raise result.error
        return Item(self.id, result.embedding, result.digest or b"", self.stamp)

    def status(self, result: Result) -> Status:
        if self.known is None:
            return "new"
        return "unchanged" if self.known.digest == result.digest else "updated"


def _changed(
    collection: Collection, paths: Iterable[str], waiting: deque[_File], report: Report
) -> Iterator[str]:
    """The paths that need an embedding; each is put into `waiting` as it leaves."""
    for path in paths:
        id = os.path.abspath(path)  # noqa: PTH100 - a Path costs five times as much
        stamp = _stamp(path)
        known = collection.known(id) if stamp else None
        if known and known.file == stamp:
            report(Filed(path, "unchanged"))
        else:
            waiting.append(_File(path, id, stamp, known))
            yield path


def _stamp(path: str) -> FileStamp | None:
    """None for a file that cannot be reached or stored under its name: that is said later."""
    try:
        path.encode()
        return FileStamp.of(path)
    except (OSError, ValueError):
        return None


class _Batch:
    """Items waiting for their commit, which is when they are reported."""

    def __init__(self, collection: Collection, report: Report) -> None:
        self._collection = collection
        self._report = report
        self._waiting: list[tuple[Item, Filed]] = []
        self._committed = time.monotonic()

    def add(self, item: Item, filed: Filed) -> None:
        self._waiting.append((item, filed))
        if len(self._waiting) >= BATCH_ITEMS or time.monotonic() - self._committed >= BATCH_SECONDS:
            self.commit()

    def commit(self) -> None:
        batch, self._waiting = self._waiting, []  # a batch that cannot be written is not tried again
        if batch:
            self._collection.add(item for item, _ in batch)
        self._committed = time.monotonic()
        for _, filed in batch:
            self._report(filed)
