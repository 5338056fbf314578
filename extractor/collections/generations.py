"""Snapshots of an index: immutable, each of one generation of the store, sharing what has not changed.

A snapshot is a row of segments, then a tail of what was written since they
were built. All of them hold the store's numbers, which only rise: first the
numbers of the first segment, last those of the tail. What is deleted keeps its
place there and is noted as dead until a new segment is built without it.
Whoever holds a snapshot can search it for as long as they like; nobody waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.collections.store import Generation
from extractor.indexes.float32 import Float32Segment
from extractor.indexes.nearest import Mask, Places
from extractor.indexes.segments import Segment
from extractor.results import Vector

Numbers: TypeAlias = NDArray[np.int64]

NOWHERE: Places = np.empty(0, np.int64)


def places_of(numbers: Numbers, wanted: Numbers) -> Places:
    """Where `wanted` stand among `numbers`, both rising; those that are not there are left out."""
    places = np.searchsorted(numbers, wanted)
    inside = places < len(numbers)
    places, wanted = places[inside], wanted[inside]
    found: Places = places[numbers[places] == wanted]
    return found


@dataclass(frozen=True, eq=False)
class Part:
    """A segment, and which of its places are dead.

    Attributes
    ----------
    segment : Segment
    dead : int64 array
        Places, rising.
    recall : float or None
        Recall@10 against an exact search; None while it has not been measured.
    name : str
        The folder of the index that it was saved in; empty when it was not.
    """

    segment: Segment
    dead: Places = field(default_factory=lambda: NOWHERE)
    recall: float | None = None
    name: str = ""

    def __len__(self) -> int:
        """How many are alive."""
        return len(self.segment.numbers) - len(self.dead)

    @property
    def first(self) -> int:
        """Its lowest number."""
        return int(self.segment.numbers[0])

    @property
    def last(self) -> int:
        """Its highest number."""
        return int(self.segment.numbers[-1])

    @cached_property
    def alive(self) -> Mask | None:
        """Which places are alive, or None when all are."""
        if not len(self.dead):
            return None
        alive = np.ones(len(self.segment.numbers), np.bool_)
        alive[self.dead] = False
        return alive

    def among(self, numbers: Numbers) -> Places:
        """The living places of some numbers, which rise; those that are not there are left out."""
        places = places_of(self.segment.numbers, numbers)
        return places if self.alive is None else places[self.alive[places]]

    def bury(self, numbers: Numbers) -> Part:
        """The same without some numbers."""
        dead = _with(self.dead, places_of(self.segment.numbers, numbers))
        return self if dead is self.dead else replace(self, dead=dead)

    def living(self) -> Numbers:
        """The numbers that are alive."""
        numbers = self.segment.numbers
        return numbers if self.alive is None else numbers[self.alive]

    def only(self, numbers: Numbers) -> Part:
        """The same where nothing is alive but these, which rise."""
        alive = np.zeros(len(self.segment.numbers), np.bool_)
        alive[places_of(self.segment.numbers, numbers)] = True
        return replace(self, dead=np.flatnonzero(~alive))

    def meets(self, low: int, high: int) -> bool:
        """Whether any of its numbers can be in a span, both ends included."""
        return self.first <= high and low <= self.last


class _Buffer:
    """Rows to append to; each tail sees the first so many of them, which do not change any more."""

    def __init__(self, dim: int, capacity: int) -> None:
        self.numbers = np.empty(capacity, np.int64)
        self.units = np.empty((capacity, dim), np.float32)
        self.used = 0

    def fits(self, begin: int, count: int) -> bool:
        """Whether rows can be put at `begin`: nobody else has gone on from there."""
        return self.used == begin and begin + count <= len(self.numbers)

    def put(self, numbers: Numbers, units: Vector) -> None:
        end = self.used + len(numbers)
        self.numbers[self.used : end] = numbers
        self.units[self.used : end] = units
        self.used = end


@dataclass(frozen=True, eq=False)
class Tail:
    """Unit vectors in memory, in the order they were written, and which of their places are dead."""

    buffer: _Buffer
    count: int = 0
    dead: Places = field(default_factory=lambda: NOWHERE)

    @classmethod
    def empty(cls, dim: int) -> Tail:
        """A tail of nothing."""
        return cls(_Buffer(dim, 0))

    def __len__(self) -> int:
        """How many are alive."""
        return self.count - len(self.dead)

    @property
    def numbers(self) -> Numbers:
        """One for each place, rising."""
        return self.buffer.numbers[: self.count]

    @property
    def units(self) -> Vector:
        """One row for each place."""
        return self.buffer.units[: self.count]

    @cached_property
    def part(self) -> Part:
        """The same as a part, to be searched like the others."""
        return Part(Float32Segment(self.numbers, self.units), self.dead)

    def append(self, numbers: Numbers, units: Vector) -> Tail:
        """The same and some rows behind it."""
        buffer, count = self.buffer, self.count + len(numbers)
        if not buffer.fits(self.count, len(numbers)):
            buffer = _Buffer(buffer.units.shape[1], max(count, 2 * self.count))
            buffer.put(self.numbers, self.units)
        buffer.put(numbers, units)
        return Tail(buffer, count, self.dead)

    def bury(self, numbers: Numbers) -> Tail:
        """The same without some numbers."""
        dead = _with(self.dead, places_of(self.numbers, numbers))
        return self if dead is self.dead else Tail(self.buffer, self.count, dead)

    def after(self, number: int) -> Tail:
        """The rows of higher numbers, in memory of their own."""
        begin = int(np.searchsorted(self.numbers, number, side="right"))
        if begin == 0:
            return self
        rest = Tail.empty(self.units.shape[1]).append(self.numbers[begin:], self.units[begin:])
        return rest.bury(self.numbers[self.dead])


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What can be searched at one generation of the store; it never changes.

    Attributes
    ----------
    generation : Generation
    parts : tuple of Part
        In the order of their numbers, none empty.
    tail : Tail
        Numbers above those of all parts.
    """

    generation: Generation
    parts: tuple[Part, ...]
    tail: Tail

    @classmethod
    def empty(cls, dim: int) -> Snapshot:
        """A snapshot of nothing, from which everything is still to be read."""
        return cls(Generation(), (), Tail.empty(dim))

    def __len__(self) -> int:
        return sum(map(len, self.parts)) + len(self.tail)

    def at(self, generation: Generation) -> Snapshot:
        """The same, known to be what the store holds at another generation."""
        return replace(self, generation=generation)

    def append(self, numbers: ArrayLike, units: Vector) -> Snapshot:
        """The same and some unit vectors of shape (n, dim), whose numbers rise from where it ends."""
        return replace(self, tail=self.tail.append(np.asarray(numbers, np.int64), units))

    def bury(self, numbers: ArrayLike) -> Snapshot:
        """The same without some numbers; those that are not there are passed over."""
        gone = np.unique(np.asarray(numbers, np.int64))
        if not len(gone):
            return self
        parts = tuple(part.bury(gone) for part in self.parts)
        return replace(self, parts=parts, tail=self.tail.bury(gone))

    def within(self, low: int, high: int) -> Numbers:
        """The living numbers from `low` to `high`, both included, rising."""
        parts = [part for part in (*self.parts, self.tail.part) if len(part) and part.meets(low, high)]
        living = np.concatenate([np.empty(0, np.int64), *(part.living() for part in parts)])
        found: Numbers = living[slice(*np.searchsorted(living, (low, high + 1)))]
        return found

    def swap(self, low: int, high: int, made: Part | None) -> Snapshot | None:
        """The same with another part in the place of all numbers from `low` to `high`, both included.

        What was buried since `made` was built is dead in it, too.

        Parameters
        ----------
        low, high : int
        made : Part or None
            None when nothing of the span was alive.

        Returns
        -------
        Snapshot or None
            None when that does not fit here: the span cuts a part, or something
            in it is alive that `made` does not have.
        """
        living = self.within(low, high)
        kept = [part for part in self.parts if not part.meets(low, high)]
        whole = all(low <= part.first and part.last <= high for part in self.parts if part not in kept)
        if made is not None:
            made = made.only(living)
            kept.append(made)
        if not whole or len(living) != (len(made) if made else 0):
            return None
        parts = tuple(sorted(kept, key=lambda part: part.first))
        return replace(self, parts=parts, tail=self.tail.after(high))


def _with(dead: Places, more: Places) -> Places:
    """Both, rising; `dead` itself when that says it all."""
    both = np.union1d(dead, more)
    return dead if len(both) == len(dead) else both
