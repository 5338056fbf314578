"""Which heads answer a call, each by one version for the whole of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from classifiers.heads import IMAGENET, Head, imagenet_head
from classifiers.serving import ServedHeads
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder
from extractor.submission import Submits

MOST_HEADS = 64
"""In one call."""


class Answering(NamedTuple):
    """A head that answers.

    Attributes
    ----------
    name, version : str, int
        The backbone's own has the version 0.
    head : Head
    size : int
        Numbers that an answer goes through.
    label_bytes : int
        Of the longest label.
    """

    name: str
    version: int
    head: Head
    size: int
    label_bytes: int


class Roster:
    """The heads of one data folder, and the backbone's own.

    Parameters
    ----------
    data : DataFolder
    embedder : Embedder
    """

    def __init__(self, data: DataFolder, embedder: Submits) -> None:
        self._served = ServedHeads(data)
        self._embedder = embedder
        self._known: dict[str, Answering] = {}

    async def answering(self, names: Sequence[str]) -> list[Answering]:
        """Who answers to these names, as it is on disk now.

        Raises
        ------
        InvalidArgument
            When there are none, or too many.
        NotFound, DamagedFile
            As `ServedHeads.serving`.
        """
        if not 0 < len(names) <= MOST_HEADS:
            raise InvalidArgument(f"the call names {len(names)} heads: name 1 to {MOST_HEADS}")
        return [await self._one(name) for name in names]

    async def _one(self, name: str) -> Answering:
        if name == IMAGENET:
            return self._answering(name, 0, await asyncio.to_thread(lambda: self._imagenet))
        if self._served.is_ready(name):
            return self._answering(name, *self._served.serving(name))
        return self._answering(name, *await asyncio.to_thread(self._served.serving, name))

    def _answering(self, name: str, version: int, head: Head) -> Answering:
        """The same as long as it is the same head."""
        known = self._known.get(name)
        if known is None or known.head is not head:
            longest = max(len(label.encode()) for label in head.manifest.classes)
            known = self._known[name] = Answering(name, version, head, _size(head), longest)
        return known

    @cached_property
    def _imagenet(self) -> Head:
        return imagenet_head(self._embedder.bundle)


def _size(head: Head) -> int:
    size = sum(array.size for array in head.model.arrays().values())
    if head.rejection:
        size += sum(array.size for array in head.rejection.arrays().values())
    return size
