"""A named set of items that can be searched."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from extractor.collections.choosing import Choosing
from extractor.collections.fields import require_fields
from extractor.collections.filters import Filter
from extractor.collections.info import Info, index_in_memory, index_on_disk
from extractor.collections.item import KEEP, Entry, Item, Keep
from extractor.collections.metadata import Json
from extractor.collections.moving import lost
from extractor.collections.revising import Revision, revise
from extractor.collections.saved import SavedIndex
from extractor.collections.schema import DEFAULT_THUMBNAILS
from extractor.collections.searching import search
from extractor.collections.snapshots import Snapshots
from extractor.collections.store import (
    Block,
    Generation,
    Known,
    Meta,
    Reader,
    Store,
    store_path,
    stored_names,
)
from extractor.collections.upkeep import Upkeep
from extractor.errors import AlreadyExists, FingerprintMismatch, InvalidArgument, NotFound
from extractor.indexes import SCORE_DECIMALS, Hits, checked_k, unit
from extractor.results import Vector
from extractor.settings import DataFolder

names = stored_names


class Match(NamedTuple):
    """One neighbour.

    Attributes
    ----------
    id : str
    score : float
        Cosine of the angle between the two vectors: 1 for the same direction.
    """

    id: str
    score: float

    @property
    def distance(self) -> float:
        """One minus the score: 0 for the same direction."""
        return round(1 - self.score, SCORE_DECIMALS)


class Collection:
    """Items on disk and an index over them; safe to share between threads.

    Use `open`, `create` or `open_or_create`. Writes are on disk when their
    call returns. The index is loaded at the first search and follows the store
    from then on, so that every search sees all that was committed before it,
    by this process or another. Searches wait neither for writers nor for each
    other, nor for the index to be built.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._choosing = Choosing(store)
        self._saved = SavedIndex(store)
        self._snapshots = Snapshots(store, self._saved.load, self._choosing.at_once)
        self._upkeep = Upkeep(store, self._snapshots, self._saved, self._choosing)

    @classmethod
    def open(cls, data: DataFolder, name: str) -> Collection:
        """Open a collection.

        Raises
        ------
        NotFound
            When there is none of that name; the message says which there are.
        DamagedFile, InvalidArgument
            See `Store`.
        """
        return cls(Store.find(data, name))

    @classmethod
    def create(
        cls,
        data: DataFolder,
        name: str,
        *,
        fingerprint: str,
        dim: int,
        backbone: str,
        thumbnails: int = DEFAULT_THUMBNAILS,
        settings: Mapping[str, Json] | None = None,
    ) -> Collection:
        """Make an empty collection for the vectors of one backbone.

        Parameters
        ----------
        data : DataFolder
        name : str
        fingerprint, dim, backbone : str, int, str
            Of the backbone.
        thumbnails : int
            Pixels of the longer side of the thumbnails to keep; 0 for none.
        settings : mapping, optional
            How the index is to be made, see `reindex`.

        Raises
        ------
        AlreadyExists
            When there is one of that name.
        InvalidArgument
            When the name cannot be a folder's, or the settings mean nothing.
        """
        meta = Meta(fingerprint, dim, backbone, thumbnails, Choosing.checked(settings or {}))
        return cls(Store.create(store_path(data, name), meta))

    @classmethod
    def open_or_create(
        cls,
        data: DataFolder,
        name: str,
        *,
        fingerprint: str,
        dim: int,
        backbone: str,
        thumbnails: int = DEFAULT_THUMBNAILS,
        settings: Mapping[str, Json] | None = None,
    ) -> Collection:
        """Open a collection of this fingerprint, or make it, see `create`.

        Raises
        ------
        FingerprintMismatch
            When there is one of another backbone.
        """
        if not store_path(data, name).exists():
            with suppress(AlreadyExists):  # another process was quicker
                return cls.create(
                    data,
                    name,
                    fingerprint=fingerprint,
                    dim=dim,
                    backbone=backbone,
                    thumbnails=thumbnails,
                    settings=settings,
                )
        collection = cls.open(data, name)
        try:
            collection.require(fingerprint)
        except FingerprintMismatch:
            collection.close()
            raise
        return collection

    @property
    def name(self) -> str:
        """What it is called."""
        return self._store.name

    @property
    def fingerprint(self) -> str:
        """The backbone that made its vectors, in hex."""
        return self._store.meta.fingerprint

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self._store.meta.dim

    @property
    def backbone(self) -> str:
        """The name of the backbone that made its vectors."""
        return self._store.meta.backbone

    @property
    def thumbnails(self) -> int:
        """Pixels of the longer side of its thumbnails; 0 when none are kept."""
        return self._store.meta.thumbnails

    def require(self, fingerprint: str) -> None:
        """Raise FingerprintMismatch unless the vectors are of this fingerprint."""
        if fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"the collection {self.name!r} ({self.backbone})",
                fingerprint,
                self.fingerprint,
                f"Use --backbone {self.backbone}, or a collection of another name",
            )

    def __len__(self) -> int:
        with self._store.reading() as reader:
            return len(reader)

    def get(self, id: str) -> Item:
        """The item of that id; NotFound when there is none."""
        with self._store.reading() as reader:
            item = reader.get(id)
        if item is None:
            raise NotFound(f"the collection {self.name!r} has no item {id!r}")
        return item

    def known(self, id: str, *, thorough: bool = False) -> Known | None:
        """Digest and file of the item of that id, or None; see `Reader.known`."""
        with self._store.reading() as reader:
            return reader.known(id, thorough=thorough)

    def remains(self, id: str) -> Entry | None:
        """What can be trusted of the item of that id; see `Reader.remains`."""
        with self._store.reading() as reader:
            return reader.remains(id)

    def known_all(self, ids: Iterable[str]) -> list[Known | None]:
        """`known` of several, as of one moment."""
        with self._store.reading() as reader:
            return [reader.known(id) for id in ids]

    def oldest(self, digests: Iterable[bytes]) -> list[str | None]:
        """For each digest the id of the item that was written first of those made of these bytes."""
        with self._store.reading() as reader:
            return [reader.oldest(digest) for digest in digests]

    def with_digest(self, digest: bytes) -> list[str]:
        """The ids of the items made of exactly these bytes, in the order they were written."""
        with self._store.reading() as reader:
            return reader.with_digest(digest)

    def lost(self, digest: bytes, path: str) -> Entry | None:
        """The item of these bytes whose file has moved to `path`; see `moving.lost`."""
        with self._store.reading() as reader:
            return lost(reader, digest, path)

    def thumbnail(self, id: str) -> bytes | None:
        """The JPEG of the item of that id; None when there is none."""
        with self._store.reading() as reader:
            return reader.thumbnail(id)

    def items(
        self, where: Filter | None = None, *, vectors: bool = False, after: int = 0, limit: int = -1
    ) -> Generator[Entry]:
        """Items in the order they were written, of one moment, a block at a time in memory.

        Close the iterator when it is not read to its end.

        Parameters
        ----------
        where : Filter, optional
        vectors : bool
            Read the vectors, too.
        after : int
            Only those of higher numbers.
        limit : int
            At most so many; all when negative.
        """
        with self._store.reading() as reader:
            yield from reader.entries(where, vectors=vectors, after=after, limit=limit)

    def require_fields(self, where: Filter | None) -> None:
        """Raise InvalidArgument when a filter compares a field that no item has."""
        with self._store.reading() as reader:
            require_fields(reader, where)

    def blocks(self) -> Iterator[Block]:
        """Numbers, ids and vectors of all items in the order they were written; see `items`."""
        with self._store.reading() as reader:
            yield from reader.written_since(Generation())

    def add(self, items: Iterable[Item], *, replace: bool = True) -> list[str]:
        """Add items: all of them, on disk, or none.

        Parameters
        ----------
        items : iterable of Item
        replace : bool
            Those of the same id take their place. Without it, these stay, and
            the new ones are refused.

        Returns
        -------
        list of str
            The ids that were refused.

        Raises
        ------
        InvalidArgument
            When a vector has another width than the collection's.
        Unavailable
            When the disk is full or another process keeps writing.
        """
        batch = list(items)
        for item in batch:
            if len(item.vector) != self.dim:
                raise InvalidArgument(
                    f"the vector of item {item.id!r} has {len(item.vector)} values; those of the "
                    f"collection {self.name!r} have {self.dim}"
                )
        there = self._store.put(batch, replace=replace)
        return [] if replace else there

    def delete(self, ids: Iterable[str]) -> int:
        """Delete items; return how many of them there were."""
        return self._store.remove(ids)

    def set(
        self,
        ids: Iterable[str],
        *,
        label: str | Keep | None = KEEP,
        metadata: Mapping[str, Json] | None = None,
    ) -> int:
        """Change the label and metadata of items; see `Store.set`."""
        return self._store.set(ids, label=label, metadata=metadata)

    def revise(self, revisions: Iterable[Revision]) -> list[bool]:
        """Change ids, stamps, labels and metadata of items, all in one commit; see `revising.revise`."""
        return revise(self._store, revisions)

    def search(
        self,
        vectors: ArrayLike,
        k: int = 10,
        *,
        where: Filter | None = None,
        min_score: float | None = None,
    ) -> list[list[Match]]:
        """The `k` items most like each query, best first; equal scores in the order of their ids.

        Parameters
        ----------
        vectors : array of shape (q, dim)
            Of any length but zero.
        k : int
            At least 1; with fewer items than that, all are returned.
        where : Filter, optional
            Which items may be found.
        min_score : float, optional
            Leave out what is less alike.

        Raises
        ------
        InvalidArgument
            When `k` is under 1, or a query has the wrong width or no direction.
        """
        k = checked_k(k)
        queries = unit(vectors, self.dim)
        with self._snapshots.reading() as (reader, snapshot):
            self._choosing.refresh(reader)
            allowed = None if where is None else reader.numbers(where)
            found = search(snapshot, queries, k, partial(_units, reader, self.dim), allowed)
            matches = _matches(reader, found, k, min_score)
        self._upkeep.wake(snapshot)
        return matches

    def info(self) -> Info:
        """What can be said of the whole; the index is not loaded for it."""
        with self._snapshots.glancing() as (reader, snapshot):
            count, labels, meta = len(reader), reader.labels(), reader.meta()
            self._choosing.refresh(reader)
        chosen = self._choosing.choice(count)
        return Info(
            name=self.name,
            count=count,
            bytes=self._store.nbytes,
            fingerprint=meta.fingerprint,
            backbone=meta.backbone,
            dim=meta.dim,
            thumbnails=meta.thumbnails,
            labels=labels,
            settings=meta.settings,
            index=index_on_disk(self._saved.manifest(), count, *chosen)
            if snapshot is None
            else index_in_memory(snapshot, count, *chosen),
        )

    def compact(self) -> None:
        """Build and save what is due of the index, now, rather than in the background.

        Raises
        ------
        InvalidArgument
            When the index cannot be saved; searches are served all the same.
        """
        self._upkeep.work()

    def reindex(self, settings: Mapping[str, Json] | None = None) -> None:
        """Make the whole index anew, and keep how it is to be made from now on.

        Searches go on meanwhile.

        Parameters
        ----------
        settings : mapping, optional
            See `Choosing`; empty for the defaults, None to leave them as they are.

        Raises
        ------
        InvalidArgument
            When the settings mean nothing, or the index cannot be saved.
        """
        with nullcontext() if settings is None else self._store.configured(Choosing.checked(settings)):
            self._upkeep.rebuild()

    def close(self) -> None:
        """Stop what is done in the background and close the store; what was added is on disk already."""
        self._upkeep.close()
        self._store.close()
        self._snapshots.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _units(reader: Reader, dim: int, numbers: Iterable[int]) -> Vector:
    try:
        return unit(reader.vectors(numbers), dim)
    except InvalidArgument as error:
        raise reader.damaged(error) from None


def _matches(reader: Reader, found: list[Hits], k: int, min_score: float | None) -> list[list[Match]]:
    numbers = np.unique(np.concatenate([np.empty(0, np.int64), *(hits.rows for hits in found)]))
    ids = dict(zip(numbers.tolist(), reader.ids(numbers), strict=True))
    least = -np.inf if min_score is None else min_score
    return [_ordered(hits, ids, least)[:k] for hits in found]


def _ordered(hits: Hits, ids: Mapping[int, str], least: float) -> list[Match]:
    pairs = zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    matches = [Match(ids[number], score) for number, score in pairs if score >= least]
    return sorted(matches, key=lambda match: (-match.score, match.id))
