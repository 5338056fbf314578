"""What to build anew of a snapshot, and of which vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from extractor.collections.generations import Numbers, Part, Snapshot
from extractor.collections.store import Store
from extractor.errors import InvalidArgument
from extractor.indexes import unit
from extractor.indexes.kinds import effective
from extractor.indexes.nearest import Places
from extractor.indexes.segments import Kind
from extractor.results import Vector

TAIL = 8192
"""So many rows in the tail become a segment: they take memory, and are read anew at each opening."""

GROWTH = 4
"""A segment at most so many times as large as what comes behind it is built anew together with that."""

DEAD_LEAST, DEAD_SHARE = 1024, 0.25
"""A segment with so many dead places, and such a share of them, is built anew without."""

STAY = 0.75
"""A kind is kept until it would not even be chosen for this share of the items."""

_BLOCK = 256  # small, so that searches get their turn between two of them

KindFor: TypeAlias = Callable[[int], Kind]


class Span(NamedTuple):
    """The numbers from `low` to `high`, both included, which are to become one segment."""

    low: int
    high: int


def due(snapshot: Snapshot, kind_for: KindFor) -> Span | None:
    """What should be built anew now, if anything."""
    if _of_another_kind(snapshot, kind_for):
        return everything(snapshot)
    if snapshot.tail.count >= TAIL:
        return _with_neighbours(snapshot)
    for part in snapshot.parts:
        if len(part.dead) >= max(DEAD_LEAST, DEAD_SHARE * len(part.segment.numbers)):
            return Span(part.first, part.last)
    return None


def everything(snapshot: Snapshot) -> Span | None:
    """All that a snapshot has; None when that is nothing."""
    firsts = [part.first for part in snapshot.parts] + snapshot.tail.numbers[:1].tolist()
    lasts = [part.last for part in snapshot.parts] + snapshot.tail.numbers[-1:].tolist()
    return Span(firsts[0], lasts[-1]) if firsts else None


def _of_another_kind(snapshot: Snapshot, kind_for: KindFor) -> bool:
    chosen = kind_for(len(snapshot)), kind_for(int(STAY * len(snapshot)))
    return any(
        part.segment.kind not in (effective(kind, len(part.segment.numbers)) for kind in chosen)
        for part in snapshot.parts
    )


def _with_neighbours(snapshot: Snapshot) -> Span:
    """The tail, and the segments before it that are not much larger: few stay, and few are built often."""
    low, gathered = int(snapshot.tail.numbers[0]), len(snapshot.tail)
    for part in reversed(snapshot.parts):
        if len(part) > GROWTH * gathered:
            break
        low, gathered = part.first, gathered + len(part)
    return Span(low, int(snapshot.tail.numbers[-1]))


class Living:
    """The unit vectors that a snapshot has in a span, as blocks to build of; they can be gone through again.

    What a segment keeps in full is taken from there, the rest from the store, in
    short transactions, so that its log can be cleared meanwhile. What was deleted
    since is not in the store any more: any vector stands in for it, since it is
    dead in whatever is built of it.

    Parameters
    ----------
    snapshot : Snapshot
    span : Span
    store : Store
    check : callable
        Called before each block; may raise.
    """

    def __init__(self, snapshot: Snapshot, span: Span, store: Store, check: Callable[[], None]) -> None:
        self._parts = [
            part
            for part in (*snapshot.parts, snapshot.tail.part)
            if len(part) and span.low <= part.first and part.last <= span.high
        ]
        self._store, self._check = store, check

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[tuple[Numbers, Vector]]:
        for part in self._parts:
            places = part.among(part.segment.numbers)
            for start in range(0, len(places), _BLOCK):
                self._check()
                block = places[start : start + _BLOCK]
                yield part.segment.numbers[block], self._units(part, block)

    def sample(self, count: int) -> Vector:
        """At most so many of the vectors, evenly spread over all."""
        numbers = np.concatenate([np.empty(0, np.int64), *(part.living() for part in self._parts)])
        chosen = numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(np.int64)]
        rows = (self._units(part, part.among(chosen)) for part in self._parts)
        return np.concatenate([np.empty((0, self._store.meta.dim), np.float32), *rows])

    def _units(self, part: Part, places: Places) -> Vector:
        units = part.segment.units(places) if len(places) else np.empty((0, self._store.meta.dim), np.float32)
        return stored_units(self._store, part.segment.numbers[places]) if units is None else units


def stored_units(store: Store, numbers: Numbers) -> Vector:
    """The unit vectors of these numbers, which rise; of those that are gone, any."""
    units = np.eye(1, store.meta.dim, dtype=np.float32).repeat(len(numbers), axis=0)
    with store.reading() as reader:
        there = reader.present(numbers)
        try:
            units[np.searchsorted(numbers, there)] = unit(reader.vectors(there), store.meta.dim)
        except InvalidArgument as error:
            raise reader.damaged(error) from None
    return units
