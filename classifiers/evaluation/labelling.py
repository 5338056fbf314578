"""Which images of a collection to label next."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from classifiers.distribution.rejection import Rejection
from classifiers.evaluation.suggestions import CANDIDATES, margins, suggest
from classifiers.layers import Model
from extractor.exploring.pictures import Album, picture_of
from extractor.exploring.rows import Readable
from extractor.results import Vector

_BATCH = 2048


class Shelf(Album, Protocol):
    """Where images are looked for: an `extractor.collections.Collection`, or what looks like one."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def items(self, *, vectors: bool = False) -> Iterable[Readable]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Worth:
    """An image that is worth a label.

    Attributes
    ----------
    id : str
        In its collection.
    likely : str
        The most probable class.
    probability, margin, entropy : float
        See `classifiers.evaluation.suggestions.Suggestion`.
    picture : bytes, str or None
        A JPEG, or a path.
    unknown : bool
        Whether it is further from all classes than the head's threshold.
    """

    id: str
    likely: str
    probability: float
    margin: float
    entropy: float
    picture: bytes | str | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Suggested:
    """Which images of a collection to label next, in this order, and among how many."""

    collection: str
    unlabelled: int
    images: Sequence[Worth]


def worth_labelling(
    model: Model,
    classes: Sequence[str],
    shelf: Shelf,
    labelled: Sized[str],
    count: int,
    rejection: Rejection | None = None,
) -> Suggested:
    """The images of a collection that are worth a label most; see `classifiers.evaluation.suggestions`.

    However large the collection, only the candidates are held in memory.

    Parameters
    ----------
    model : Model
    classes : sequence of str
    shelf : Collection
        Of the model's embedding space.
    labelled : collection of str
        Digests, in hex, of images that have a label; they are passed over.
    count : int
    rejection : Rejection, optional
        Says which of them are like no class.
    """
    ids: list[str] = []
    seen, rows = 0, np.empty((0, 0), np.float32)
    for names, X in _batches(shelf, labelled):
        seen += len(names)
        ids, rows = [*ids, *names], np.concatenate([rows, X]) if len(rows) else X
        order = np.argsort(margins(model.probabilities(rows), model.multi_label), kind="stable")
        kept = np.sort(order[: CANDIDATES * count])
        ids, rows = [ids[at] for at in kept.tolist()], rows[kept]
    chosen = suggest(model, rows, count)
    places = [each.row for each in chosen]
    unknown = rejection.unknown(rows[places]).tolist() if rejection and places else [False] * len(places)
    found = [
        Worth(ids[each.row], classes[each.likely], *each[2:], picture_of(shelf, ids[each.row]), far)
        for each, far in zip(chosen, unknown, strict=True)
    ]
    return Suggested(shelf.name, seen, found)


def _batches(shelf: Shelf, labelled: Sized[str]) -> Iterator[tuple[list[str], Vector]]:
    """Ids and embeddings of the images without a label."""
    items = (
        item
        for item in shelf.items(vectors=True)
        if item.label is None and item.vector is not None and item.digest.hex() not in labelled
    )
    while batch := list(islice(items, _BATCH)):
        yield [item.id for item in batch], np.stack([np.asarray(item.vector, np.float32) for item in batch])
