"""What is found out about image files before anything is computed: in threads, many files at a time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from extractor import sources
from extractor.collections.collection import Collection
from extractor.collections.item import KEEP, Entry, FileStamp, Keep
from extractor.collections.metadata import Json
from extractor.collections.pictures import NO_PICTURE, Picture, look_at
from extractor.collections.store import Known
from extractor.errors import PenultimateError
from extractor.results import Embeds, Vector
from extractor.settings import Limits, cores

TOGETHER = 64
"""Files that one thread looks at before the next step: their digests are looked up together."""

PATIENCE = 2.0
"""Seconds that threads have to come to an end: one that hangs in reading a file cannot be stopped."""


class Facts(NamedTuple):
    """What the user says of a file.

    Attributes
    ----------
    label : str, None or KEEP
        KEEP for an item that has one already, none for a new one.
    metadata : mapping
    """

    label: str | Keep | None = KEEP
    metadata: Mapping[str, Json] = {}


NO_FACTS = Facts()


def no_facts(_path: str) -> Facts:
    """Nothing is said of any file."""
    return NO_FACTS


FactsOf: TypeAlias = Callable[[str], Facts]


@dataclass(slots=True)
class Sighting:
    """One file, as it was seen.

    Attributes
    ----------
    path, id : str
        As it was given, and made absolute.
    stamp : FileStamp or None
        Read before its bytes; None when it cannot be reached or stored under its name.
    known : Known or None
        What the collection has under this id.
    old : Entry or None
        All of that but the vector, where it may change, as far as it can be trusted; of the lost item,
        where there is one.
    facts : Facts
        Of the user.
    error : PenultimateError or None
        What is wrong with the facts.
    lost : Entry or None
        The item whose file has come here from elsewhere.
    digest : bytes or None
        None where the file was not read, or could not be.
    picture : Picture
    vector : array or None
        As far as it is remembered.
    """

    path: str
    id: str
    stamp: FileStamp | None = None
    known: Known | None = None
    old: Entry | None = None
    facts: Facts = NO_FACTS
    error: PenultimateError | None = None
    lost: Entry | None = None
    digest: bytes | None = None
    picture: Picture = field(default=NO_PICTURE)
    vector: Vector | None = None

    @property
    def damage(self) -> str:
        """What is wrong with the stored item, and what of it is lost; empty when nothing is."""
        if self.known is None or not self.known.damage:
            return ""
        return self.known.damage + ("" if self.old else ": its label and other metadata are lost")

    @property
    def stays(self) -> bool:
        """Whether path, size and time are those of the item."""
        return self.known is not None and self.known.file == self.stamp

    @property
    def same_content(self) -> bool:
        """Whether the item was made of the same bytes."""
        return self.stays or (self.known is not None and self.known.digest == self.digest)


class Sight:
    """Looks at files: who they are, whether they have changed, and whether their vector is remembered.

    Parameters
    ----------
    collection : Collection
    source : Embeds
        One that can look digests up is asked before it is given any image.
    facts_of : callable
        What the user says of a path.
    """

    def __init__(self, collection: Collection, source: Embeds, facts_of: FactsOf) -> None:
        self._collection = collection
        self._any = len(collection) > 0
        self._lookup: Callable[[Sequence[bytes]], Sequence[Any]] | None = getattr(source, "lookup", None)
        self._facts_of = facts_of
        self._limits = Limits()
        self._stop = threading.Event()

    def all(self, paths: Iterable[str]) -> Iterator[Sighting]:
        """Look at files in order, some ahead of the caller."""
        threads = 2 * cores()
        window: deque[Future[list[Sighting]]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="sight")
        try:
            for chunk in _chunks(paths):
                window.append(pool.submit(self.look, chunk))
                if len(window) > threads:
                    yield from window.popleft().result()
            while window:
                yield from window.popleft().result()
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            wait(window, PATIENCE)

    def look(self, paths: Sequence[str]) -> list[Sighting]:
        """Look at some files together."""
        seen = [_named(path) for path in paths]
        there = [sighting for sighting in seen if sighting.stamp]
        known = self._collection.known_all(sighting.id for sighting in there)
        for sighting, item in zip(there, known, strict=True):
            if self._stop.is_set():
                return []
            sighting.known = item
            self._see(sighting)
        wanted = [it for it in there if it.digest and not (it.same_content or it.lost)]
        for sighting, vector in zip(wanted, self._recalled(wanted), strict=True):
            sighting.vector = vector
        return seen

    def _see(self, sighting: Sighting) -> None:
        try:
            sighting.facts = self._facts_of(sighting.path)
            if not sighting.stays:
                self._read(sighting)
            if sighting.known and (sighting.facts != NO_FACTS or not sighting.same_content):
                sighting.old = self._collection.remains(sighting.id)
        except PenultimateError as error:
            sighting.error = error

    def _read(self, sighting: Sighting) -> None:
        try:
            data = sources.read(sighting.path, self._limits)
        except PenultimateError:
            return  # the source says what is wrong with it
        sighting.digest = hashlib.sha256(data).digest()
        if sighting.same_content:  # the bytes have been read: so can the vector be, which need not be whole
            sighting.known = self._collection.known(sighting.id, thorough=True)
        if self._any and not sighting.known:
            sighting.old = sighting.lost = self._collection.lost(sighting.digest, sighting.id)
        if not (sighting.same_content or sighting.lost):
            sighting.picture = look_at(data, self._collection.thumbnails, self._limits)

    def _recalled(self, wanted: Sequence[Sighting]) -> Sequence[Vector | None]:
        if not (self._lookup and wanted):
            return [None] * len(wanted)
        found = self._lookup([sighting.digest for sighting in wanted if sighting.digest])
        return [
            getattr(row, "vector", row) for row in found
        ]  # a client gives vectors, an embedder rows of its cache


def _named(path: str) -> Sighting:
    """A file with its stamp, read before its bytes; what cannot be reached or stored has none."""
    sighting = Sighting(path, os.path.abspath(path))  # noqa: PTH100 - a Path costs five times as much
    with suppress(OSError, ValueError):  # the source says what is wrong with it
        path.encode()
        sighting.stamp = FileStamp.of(path)
    return sighting


def _chunks(paths: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(paths)
    while chunk := list(islice(rest, TOGETHER)):
        yield chunk
