"""The newest snapshot of a store: it follows every commit, of whichever process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import numpy as np

from extractor.collections.generations import Numbers, Part, Snapshot
from extractor.collections.store import Generation, Reader, Store
from extractor.errors import InvalidArgument
from extractor.indexes import unit
from extractor.indexes.kinds import build
from extractor.indexes.segments import Kind
from extractor.results import Vector

Load: TypeAlias = Callable[[Reader], Snapshot]

BULK = 16384
"""When more is to be read at once it becomes a segment, rather than a long tail."""

_TRIES = 3


class Snapshots:
    """What a search begins with: a transaction of the store, and the snapshot of that very moment.

    Safe to share between threads. Only beginning takes turns: whoever finds the
    store ahead reads what has been written since. Nothing is computed meanwhile,
    and who has begun waits for nobody.

    Parameters
    ----------
    store : Store
    load : callable
        Gives what was saved of the index, when the first search begins.
    kind : callable
        Gives the kind of segment for so many items that must be searchable at once.
    """

    def __init__(self, store: Store, load: Load, kind: Callable[[int], Kind]) -> None:
        self._store, self._load, self._kind = store, load, kind
        self._lock = threading.Lock()
        self._newest: Snapshot | None = None

    def close(self) -> None:
        """Let go of memory and mapped files, as soon as nobody searches them any more."""
        with self._lock:
            self._newest = None

    @contextmanager
    def reading(self) -> Iterator[tuple[Reader, Snapshot]]:
        """A transaction of the store and its snapshot.

        Raises
        ------
        DamagedFile
            When the store holds a vector that nobody wrote.
        """
        with ExitStack() as stack:
            with self._lock:
                reader = stack.enter_context(self._store.reading())
                snapshot = self._follow(reader)
            yield reader, snapshot

    @contextmanager
    def glancing(self) -> Iterator[tuple[Reader, Snapshot | None]]:
        """A transaction of the store, and what of the newest snapshot is still there; nothing is read on.

        The snapshot is None before the first search.
        """
        newest = self._newest  # first: it must not be ahead of the transaction
        with self._store.reading() as reader:
            yield reader, newest and self._without_removed(newest, reader)

    def swap(self, low: int, high: int, made: Part | None) -> bool:
        """Put a part in the place of all numbers from `low` to `high`; False when it does not fit.

        What it means for the newest snapshot is worked out while others go on.
        """
        for _ in range(_TRIES):
            before = self._newest
            after = _swapped(before, low, high, made)
            with self._lock:
                if self._newest is before:
                    self._newest = after if after is not None else before
                    return after is not None
        with self._lock:  # others are quicker every time
            after = _swapped(self._newest, low, high, made)
            self._newest = after if after is not None else self._newest
        return after is not None

    def _follow(self, reader: Reader) -> Snapshot:
        snapshot = self._load(reader) if self._newest is None else self._newest
        now = reader.generation()
        if snapshot.generation != now:
            try:
                snapshot = self._read_on(snapshot, reader).at(now)
            except InvalidArgument as error:
                raise reader.damaged(error) from None
        self._newest = snapshot
        return snapshot

    def _read_on(self, snapshot: Snapshot, reader: Reader) -> Snapshot:
        snapshot = self._without_removed(snapshot, reader)
        if reader.generation().items - snapshot.generation.items > BULK:
            snapshot = self._gather(snapshot, reader)
        for block in reader.written_since(snapshot.generation):
            snapshot = snapshot.append(block.numbers, unit(block.vectors, self._store.meta.dim))
        return snapshot

    def _without_removed(self, snapshot: Snapshot, reader: Reader) -> Snapshot:
        """Without what has been removed since; an empty one where that cannot be told."""
        removed = reader.removed_since(snapshot.generation)
        return Snapshot.empty(self._store.meta.dim) if removed is None else snapshot.bury(removed)

    def _gather(self, snapshot: Snapshot, reader: Reader) -> Snapshot:
        """What no segment holds yet becomes one, when it is much."""
        dim, begin = self._store.meta.dim, snapshot.parts[-1].last if snapshot.parts else 0
        numbers = _above(reader.numbers(), begin)
        if len(numbers) <= BULK:
            return snapshot
        segment = build(self._kind(len(numbers)), dim, Stored(reader, begin), len(numbers))
        last = int(numbers[-1])
        read = Generation(last, snapshot.generation.removed, snapshot.generation.lineage)
        return Snapshot(read, (*snapshot.parts, Part(segment)), Snapshot.empty(dim).tail)


class Stored:
    """The items of a store above a number, as blocks to build of; they can be gone through again."""

    def __init__(self, reader: Reader, begin: int) -> None:
        self._reader, self._begin = reader, begin

    def __iter__(self) -> Iterator[tuple[Numbers, Vector]]:
        for block in self._reader.written_since(Generation(self._begin)):
            yield np.array(block.numbers, np.int64), block.vectors


def _swapped(snapshot: Snapshot | None, low: int, high: int, made: Part | None) -> Snapshot | None:
    return None if snapshot is None else snapshot.swap(low, high, made)


def _above(numbers: Numbers, begin: int) -> Numbers:
    return numbers[np.searchsorted(numbers, begin, side="right") :]
