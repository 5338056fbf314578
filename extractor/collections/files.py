"""From image files into a collection, in small commits, so that an interrupted job can go on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from extractor.collections.collection import Collection
from extractor.collections.item import KEEP, Item
from extractor.collections.metadata import merged
from extractor.collections.reader import Known
from extractor.collections.revising import Revision
from extractor.collections.sightings import FactsOf, Sight, Sighting, no_facts
from extractor.errors import PenultimateError
from extractor.results import Embeds, Result, Vector

BATCH_ITEMS = 256
BATCH_SECONDS = 0.5

_TAKEN = "its item was deleted or moved by another process meanwhile: run the same again"

Status: TypeAlias = Literal["new", "updated", "unchanged", "moved", "failed"]


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of one file.

    Attributes
    ----------
    path : str
        As it was given.
    status : str
        All but "failed" files are in the collection, on disk.
    cached : bool
        The vector was remembered, not computed.
    duplicate_of : str
        The id of the oldest item that was made of the same bytes, where that is another one.
    error : str
        Why it failed.
    moved_from : str
        The id that its item had before.
    damage : str
        What was wrong with the stored item that it has taken the place of, and what of that is lost.
    """

    path: str
    status: Status
    cached: bool = False
    duplicate_of: str = ""
    error: str = ""
    moved_from: str = ""
    damage: str = ""


Report: TypeAlias = Callable[[Filed], None]


def add_files(
    collection: Collection,
    source: Embeds,
    paths: Iterable[str],
    report: Report,
    facts_of: FactsOf = no_facts,
) -> None:
    """Add image files, each under its absolute path as id.

    A file whose path, size and time are those of its item is passed over
    unread; one with the same content counts as unchanged, too. Whatever was
    embedded when an error or Ctrl-C stops the job is still committed. Memory
    does not grow with the number of files.

    A file of the bytes of an item whose own file is gone is that file, moved:
    the item takes the new path as its id, and keeps all else.

    Every item gets `width`, `height` and `format` as metadata, and a thumbnail
    where the collection keeps them. The label and metadata of an item whose
    file has changed stay, as far as `facts_of` has no others. An item that is found
    damaged is replaced, and keeps what its checksum can restore.

    Parameters
    ----------
    collection : Collection
    source : Embeds
        Of the collection's fingerprint.
    paths : iterable of str
        Read lazily.
    report : callable
        Called once for each file, when it is on disk or has failed.
    facts_of : callable
        Called for each path, in several threads: the label and metadata that
        it shall have; what it raises is why that file fails.

    Raises
    ------
    FingerprintMismatch
        When the source gives vectors of another backbone.
    Unavailable
        When the collection cannot be written.
    """
    collection.require(source.fingerprint)
    sight = Sight(collection, source, facts_of)
    filing = _Filing(collection, sight, report)
    try:
        for result in source.stream(filing.unknown(sight.all(paths))):
            filing.take(result)
    finally:
        filing.commit()


class _Filing:
    """A job under way: files that are being embedded, and what waits for its commit."""

    def __init__(self, collection: Collection, sight: Sight, report: Report) -> None:
        self._collection, self._sight = collection, sight
        self._report = report
        self._embedding: deque[Sighting] = deque()
        self._items: list[tuple[Item, Filed]] = []
        self._revisions: list[tuple[Revision, Filed]] = []
        self._moving: set[str] = set()
        self._committed = time.monotonic()

    def unknown(self, sightings: Iterable[Sighting]) -> Iterator[str]:
        """The files that must be embedded; what is to be done for the others is done as they pass."""
        for sighting in map(self._still_true, sightings):
            if sighting.error:
                self._fail(sighting, sighting.error)
            elif sighting.same_content:
                self._keep(sighting)
            elif sighting.lost:
                self._move(sighting, sighting.lost.id)
            elif sighting.vector is not None:
                self._add(sighting, sighting.vector, sighting.digest, cached=True)
            else:
                self._embedding.append(sighting)
                yield sighting.path

    def take(self, result: Result) -> None:
        """Take what came of the oldest file that is being embedded."""
        sighting = self._embedding.popleft()
        if result.embedding is None:
            assert result.error is not None
            self._fail(sighting, result.error)
            return
        self._collection.require(result.fingerprint)  # a service can come back with another backbone
        self._add(sighting, result.embedding, result.digest, cached=result.cached)

    def commit(self) -> None:
        """Write what waits, then report it. What cannot be written is not tried again."""
        waiting, self._items = self._items, []
        revisions, self._revisions = self._revisions, []
        items = self._as_of_now(waiting)
        if items:
            self._collection.add(item for item, _ in items)
        made = self._collection.revise(revision for revision, _ in revisions) if revisions else []
        self._moving.clear()
        self._committed = time.monotonic()
        for (_, filed), is_made in zip(revisions, made, strict=True):
            self._report(filed if is_made else Filed(filed.path, "failed", error=_TAKEN))
        oldest = self._collection.oldest(item.digest for item, _ in items)
        for (item, filed), first in zip(items, oldest, strict=True):
            duplicate = first if item.digest and first not in (None, item.id) else None
            self._report(replace(filed, duplicate_of=duplicate) if duplicate else filed)

    def _as_of_now(self, waiting: list[tuple[Item, Filed]]) -> list[tuple[Item, Filed]]:
        """Which are new still: another job may have added the same file since it was looked at."""
        new = [item.id for item, filed in waiting if filed.status == "new"]
        there = {id: known for id, known in zip(new, self._collection.known_all(new), strict=True) if known}
        return [(item, _since(filed, item, there.get(item.id))) for item, filed in waiting]

    def _fail(self, sighting: Sighting, error: PenultimateError) -> None:
        self._report(Filed(sighting.path, "failed", error=str(error)))

    def _keep(self, sighting: Sighting) -> None:
        """Leave the vector of an item as it is."""
        revision, told = _revision(sighting), _says_more(sighting)
        filed = Filed(sighting.path, "updated" if told else "unchanged")
        if told or not sighting.stays:
            self._revisions.append((revision, filed))
            self._commit_when_due()
        else:
            self._report(filed)

    def _still_true(self, sighting: Sighting) -> Sighting:
        """What was seen, or what is seen now, when another file was quicker to take the place of the lost."""
        lost = sighting.lost
        if lost is None or (lost.id not in self._moving and self._collection.known(lost.id)):
            return sighting
        self.commit()
        return self._sight.look([sighting.path])[0]

    def _move(self, sighting: Sighting, old: str) -> None:
        """Let an item follow its file."""
        self._moving.add(old)
        revision = replace(_revision(sighting), id=old, new_id=sighting.id)
        self._revisions.append((revision, Filed(sighting.path, "moved", moved_from=old)))
        self._commit_when_due()

    def _add(self, sighting: Sighting, vector: Vector, digest: bytes | None, *, cached: bool) -> None:
        try:
            item = _item(sighting, vector, digest or b"")
        except PenultimateError as error:
            self._fail(sighting, error)
            return
        filed = Filed(sighting.path, _status(sighting, item), cached, damage=sighting.damage)
        self._items.append((item, filed))
        self._commit_when_due()

    def _commit_when_due(self) -> None:
        waiting = len(self._items) + len(self._revisions)
        if waiting >= BATCH_ITEMS or time.monotonic() - self._committed >= BATCH_SECONDS:
            self.commit()


def _since(filed: Filed, item: Item, known: Known | None) -> Filed:
    """What became of a file, beside what another job has made of it meanwhile."""
    if known is None:
        return filed
    return replace(filed, status="unchanged" if known.digest == item.digest else "updated")


def _status(sighting: Sighting, item: Item) -> Status:
    if sighting.known is None:
        return "new"
    return "unchanged" if sighting.known.digest == item.digest else "updated"


def _item(sighting: Sighting, vector: Vector, digest: bytes) -> Item:
    facts, picture, old = sighting.facts, sighting.picture, sighting.old
    label = (old.label if old else None) if facts.label is KEEP else facts.label
    metadata = merged({**(old.metadata if old else {}), **picture.facts}, facts.metadata)
    return Item(sighting.id, vector, digest, sighting.stamp, label, metadata, picture.thumbnail)


def _revision(sighting: Sighting) -> Revision:
    return Revision(sighting.id, sighting.stamp, *sighting.facts)


def _says_more(sighting: Sighting) -> bool:
    """Whether the user's facts are not what the item has."""
    old, facts = sighting.old, sighting.facts
    if old is None:
        return False
    return facts.label not in (KEEP, old.label) or merged(old.metadata, facts.metadata) != old.metadata
