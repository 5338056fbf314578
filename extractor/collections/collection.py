"""A named set of items that can be searched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from numpy.typing import ArrayLike

from extractor.collections.item import Item
from extractor.collections.sqlite import damaged_rows
from extractor.collections.store import Block, Generation, Known, Meta, Store
from extractor.errors import AlreadyExists, FingerprintMismatch, InvalidArgument, NotFound
from extractor.indexes import SCORE_DECIMALS, Hits, Index
from extractor.settings import DataFolder, checked_name

_FILE = "items.sqlite"


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


def _faiss_index(dim: int) -> Index:
    from extractor.indexes.faiss import FaissIndex

    return FaissIndex(dim)


class Collection:
    """Items on disk and an index over them in memory; safe to share between threads.

    Use `open`, `create` or `open_or_create`. Writes are on disk when their
    call returns. The index is filled at the first search and follows the
    store from then on, so that every search sees all that was committed
    before it, by this process or another.

    Parameters
    ----------
    store : Store
    index : callable
        Makes an empty index for vectors of a given width.
    """

    def __init__(self, store: Store, index: Callable[[int], Index] = _faiss_index) -> None:
        self._store = store
        self._make_index = index
        self._lock = threading.RLock()
        self._empty()

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
        path = _path(data, name)
        if not path.exists():
            raise NotFound(f"there is no collection {name!r}; {_which(data)}")
        return cls(Store(path))

    @classmethod
    def create(cls, data: DataFolder, name: str, *, fingerprint: str, dim: int, backbone: str) -> Collection:
        """Make an empty collection for the vectors of one backbone.

        Raises
        ------
        AlreadyExists
            When there is one of that name.
        InvalidArgument
            When the name cannot be a folder's.
        """
        return cls(Store.create(_path(data, name), Meta(fingerprint, dim, backbone)))

    @classmethod
    def open_or_create(
        cls, data: DataFolder, name: str, *, fingerprint: str, dim: int, backbone: str
    ) -> Collection:
        """Open a collection of this fingerprint, or make it.

        Raises
        ------
        FingerprintMismatch
            When there is one of another backbone.
        """
        if not _path(data, name).exists():
            with suppress(AlreadyExists):  # another process was quicker
                return cls.create(data, name, fingerprint=fingerprint, dim=dim, backbone=backbone)
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
        with self._lock, self._store.reading() as reader:
            return len(reader)

    def get(self, id: str) -> Item:
        """The item of that id; NotFound when there is none."""
        with self._lock, self._store.reading() as reader:
            item = reader.get(id)
        if item is None:
            raise NotFound(f"the collection {self.name!r} has no item {id!r}")
        return item

    def known(self, id: str) -> Known | None:
        """Digest and file of the item of that id, or None."""
        with self._lock, self._store.reading() as reader:
            return reader.known(id)

    def add(self, items: Iterable[Item]) -> None:
        """Add items, replacing those of the same id: all of them, on disk, or none.

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
        with self._lock:
            self._store.put(batch)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete items; return how many of them there were."""
        with self._lock:
            return self._store.remove(ids)

    def search(self, vectors: ArrayLike, k: int = 10) -> list[list[Match]]:
        """The `k` items most like each query, best first; equal scores in the order of their ids.

        Parameters
        ----------
        vectors : array of shape (q, dim)
            Of any length but zero.
        k : int
            At least 1; with fewer items than that, all are returned.

        Raises
        ------
        InvalidArgument
            When `k` is under 1, or a query has the wrong width or no direction.
        """
        with self._lock:
            self._catch_up()
            return [self._matches(hits, k) for hits in self._index.search(vectors, k)]

    def close(self) -> None:
        """Close the store; what was added is on disk already."""
        with self._lock:
            self._store.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _empty(self) -> None:
        self._index = self._make_index(self.dim)
        self._seen = Generation()
        self._rows: dict[int, int] = {}  # the store's number -> the index's row
        self._ids: dict[int, str] = {}  # the index's row -> the id

    def _catch_up(self) -> None:
        """Bring the index to where the store is."""
        try:
            with self._store.reading() as reader:
                now = reader.generation()
                if now == self._seen:
                    return
                removed = reader.removed_since(self._seen)
                if removed is None:
                    self._empty()
                self._forget(removed or [])
                for block in reader.written_since(self._seen):
                    self._learn(block)
        except BaseException:
            self._empty()  # half of a generation must not answer
            raise
        self._seen = now

    def _forget(self, numbers: list[int]) -> None:
        rows = [self._rows.pop(number) for number in numbers if number in self._rows]
        for row in rows:
            del self._ids[row]
        self._index.remove(rows)

    def _learn(self, block: Block) -> None:
        try:
            rows = self._index.add(block.vectors).tolist()
        except InvalidArgument as error:
            raise damaged_rows(self._store.path, str(error)) from None
        self._rows.update(zip(block.numbers, rows, strict=True))
        self._ids.update(zip(rows, block.ids, strict=True))

    def _matches(self, hits: Hits, k: int) -> list[Match]:
        found = [Match(self._ids[row], score) for row, score in zip(*map(list, hits), strict=True)]
        return sorted(found, key=lambda match: (-match.score, match.id))[:k]


def names(data: DataFolder) -> list[str]:
    """The collections in a data folder, in order."""
    return sorted(file.parent.name for file in data.collections.glob(f"*/{_FILE}"))


def _path(data: DataFolder, name: str) -> Path:
    return data.collections / checked_name("collection", name) / _FILE


def _which(data: DataFolder) -> str:
    if there := names(data):
        return f"there are: {', '.join(there)}"
    return "there are none yet: make one with `penultimate index NAME PATH...`"
