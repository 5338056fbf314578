"""A process that adds, replaces, deletes, changes and searches the items of a collection, until it is killed.

What it does is told by a number, so that whoever has killed it knows what it had done. It says the number of
each write as soon as the write has returned, and checks every answer against a model of what should be there.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extractor.collections import KEEP, Collection, Filter, Item, compaction, rows, snapshots, upkeep
from extractor.indexes.exact import ExactIndex
from extractor.settings import DataFolder

DIM = 24
IDS = 500
KINDS = ("exact", "exact-fp16")
LABELS = ("red", "blue", None)


class Kept(NamedTuple):
    """All that a collection keeps of an item."""

    vector: bytes
    label: str | None
    metadata: dict[str, Any]
    thumbnail: bytes


class Model(dict[str, Kept]):
    """What a collection should hold, in the order it was written; writes are those of `Collection`."""

    def add(self, items: Iterable[Item], *, replace: bool = True) -> list[str]:
        refused = []
        for item in items:
            if item.id in self and not replace:
                refused.append(item.id)
                continue
            self.pop(item.id, None)
            self[item.id] = Kept(item.vector.tobytes(), item.label, dict(item.metadata), item.thumbnail)
        return refused

    def delete(self, ids: Iterable[str]) -> int:
        return sum(self.pop(id, None) is not None for id in list(ids))

    def set(self, ids: Iterable[str], *, label: Any = KEEP, metadata: Mapping[str, Any] | None = None) -> int:
        there = [id for id in dict.fromkeys(ids) if id in self]
        for id in there:
            old = self[id]
            facts = {**old.metadata, **(metadata or {})}
            self[id] = old._replace(
                label=old.label if label is KEEP else label,
                metadata={key: value for key, value in facts.items() if value is not None},
            )
        return len(there)

    def check(self, collection: Collection, queries: np.ndarray) -> None:
        """Searches find what the judge finds among what should be there, with a filter and without."""
        for where, wanted in ((None, list(self)), ("label = 'red'", self._labelled("red"))):
            found = collection.search(queries, 10, where=where and Filter.parse(where))
            assert found == self._judged(wanted, queries), where

    def _labelled(self, label: str) -> list[str]:
        return [id for id, kept in self.items() if kept.label == label]

    def _judged(self, ids: list[str], queries: np.ndarray) -> list[list[tuple[str, float]]]:
        judge = ExactIndex(DIM)
        judge.add(np.array([np.frombuffer(self[id].vector, "<f4") for id in ids]).reshape(-1, DIM))
        found = judge.search(queries, 10)
        pairs = [zip(hits.scores.tolist(), (ids[row] for row in hits.rows), strict=True) for hits in found]
        ordered = [sorted(pair, key=lambda one: (-one[0], one[1])) for pair in pairs]
        return [[(id, score) for score, id in hits[:10]] for hits in ordered]


Write = Callable[[Model | Collection], object]


def write(number: int) -> Write:
    """The write of that number: another one for each, the same at each call."""
    draw = np.random.default_rng(number)
    ids = [f"i{id}" for id in draw.choice(IDS, int(draw.integers(1, 40)), replace=False)]
    match int(draw.integers(8)):
        case 0 | 1 | 2 | 3 as case:
            items = [_item(id, draw) for id in ids]
            return lambda to: to.add(items, replace=case > 0)
        case 4 | 5:
            return lambda to: to.delete(ids)
        case 6:
            label = LABELS[int(draw.integers(3))]
            return lambda to: to.set(ids, label=label)
    return lambda to: to.set(ids, metadata={f"k{number % 3}": number if number % 2 else None, "n": number})


def queries(number: int) -> np.ndarray:
    return np.random.default_rng([1, number]).standard_normal((2, DIM), np.float32)


def opened(data: DataFolder) -> Collection:
    return Collection.open_or_create(data, "c", fingerprint="f", dim=DIM, backbone="b")


def held(collection: Collection) -> Model:
    """What a collection holds, to be compared with what it should."""
    return Model(
        (
            entry.id,
            Kept(
                b"" if entry.vector is None else entry.vector.tobytes(),
                entry.label,
                dict(entry.metadata),
                collection.thumbnail(entry.id) or b"",
            ),
        )
        for entry in collection.items(vectors=True)
    )


def _item(id: str, draw: np.random.Generator) -> Item:
    vector = draw.standard_normal(DIM, np.float32)
    label = LABELS[int(draw.integers(3))]
    return Item(id, vector, label=label, metadata={"of": id}, thumbnail=draw.bytes(int(draw.integers(300))))


def _hurry() -> None:
    """Build, save and forget all the time."""
    compaction.TAIL, compaction.DEAD_LEAST, snapshots.BULK = 48, 16, 128
    upkeep.DELAY, upkeep.REST = 0.0, 0.01
    rows.REMOVALS_KEPT = 100


def main(folder: str, begin: str) -> None:
    _hurry()
    data, model = DataFolder(Path(folder)), pickle.load(sys.stdin.buffer)
    collection = opened(data)
    for number in count(int(begin)):
        do = write(number)
        done = do(collection)
        os.write(1, b"%d\n" % number)
        assert done == do(model), number
        if number % 3 == 0:
            model.check(collection, queries(number))
        if number % 20 == 9:
            collection.reindex({"kind": KINDS[number // 20 % 2]})
        if number % 50 == 40:
            collection.close()
            collection = opened(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
