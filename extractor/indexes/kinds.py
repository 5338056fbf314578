"""The kinds of segments: how each is built, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from extractor.errors import InvalidArgument
from extractor.folders import refusals
from extractor.indexes.files import Reader, Writer
from extractor.indexes.float16 import Float16Segment
from extractor.indexes.float32 import Float32Segment
from extractor.indexes.segments import Blocks, Kind, Segment


class _Type(Protocol):
    def build(self, dim: int, blocks: Blocks, count: int) -> Segment: ...

    def read(self, files: Reader) -> Segment: ...


_TYPES: dict[Kind, _Type] = {"exact": Float32Segment, "exact-fp16": Float16Segment}

KINDS: tuple[Kind, ...] = tuple(_TYPES)


def checked_kind(kind: str) -> Kind:
    """Return `kind` when there is one of that name, else raise InvalidArgument."""
    for known in KINDS:
        if kind == known:
            return known
    raise InvalidArgument(f"there is no kind of index {kind!r}; there are: {', '.join(KINDS)}")


def build(kind: Kind, dim: int, blocks: Blocks, count: int) -> Segment:
    """Make a segment; the memory this takes is that of the segment itself and of a few blocks.

    Parameters
    ----------
    kind : Kind
    dim : int
    blocks : iterable of (numbers, vectors)
        See `Blocks`.
    count : int
        How many vectors come.

    Raises
    ------
    InvalidArgument
        When a vector has another width or no direction, more or fewer than
        `count` come, or the numbers do not rise.
    """
    if iter(blocks) is blocks:
        raise InvalidArgument("the blocks of a segment must bear being gone through more than once")
    return _TYPES[checked_kind(kind)].build(dim, blocks, count)


def save(segment: Segment, folder: Path) -> None:
    """Write a segment into an empty folder; the caller syncs and names it (`publish_folder`).

    Raises
    ------
    InvalidArgument
        When the disk is full or the place cannot be written.
    """
    with refusals(folder):
        writer = Writer(folder)
        writer.finish({"kind": segment.kind, **segment.write(writer)})


def load(folder: Path) -> Segment:
    """Read what `save` has written, to its last byte, and compare the checksums.

    Raises
    ------
    DamagedFile
        When anything is missing or is not as it was written.
    """
    reader = Reader(folder)
    return _TYPES[reader.facts["kind"]].read(reader)
