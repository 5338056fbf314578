"""The kinds of segments: how each is built, saved and loaded."""

from __future__ import annotations

from pathlib import Path

from extractor.errors import InvalidArgument
from extractor.folders import refusals
from extractor.indexes.files import Reader, Writer
from extractor.indexes.float16 import Float16Segment
from extractor.indexes.float32 import Float32Segment
from extractor.indexes.hnsw import HnswSegment
from extractor.indexes.ivf import IvfSegment
from extractor.indexes.segments import Blocks, Kind, Segment

_EXACT: dict[Kind, type[Float32Segment | Float16Segment]] = {
    "exact": Float32Segment,
    "exact-fp16": Float16Segment,
}
_APPROXIMATE: dict[Kind, type[IvfSegment | HnswSegment]] = {"ivf": IvfSegment, "hnsw": HnswSegment}

KINDS: tuple[Kind, ...] = ("exact", "exact-fp16", "ivf", "hnsw")

LEAST_APPROXIMATE = 10_000
"""Fewer vectors are compared one by one: that takes no longer, and finds all."""

RECALL = 0.995
"""The share of the ten nearest that approximate kinds are made to find, of vectors that are in them; of
queries from outside, which lie a little farther off, it is half a point less."""


def checked_kind(kind: str) -> Kind:
    """Return `kind` when there is one of that name, else raise InvalidArgument."""
    for known in KINDS:
        if kind == known:
            return known
    raise InvalidArgument(f"there is no kind of index {kind!r}; there are: {', '.join(KINDS)}")


def effective(kind: str, count: int) -> Kind:
    """The kind that a segment of `count` vectors is built as, when this one is asked for."""
    wanted = checked_kind(kind)
    return "exact-fp16" if wanted in _APPROXIMATE and count < LEAST_APPROXIMATE else wanted


def build(kind: Kind, dim: int, blocks: Blocks, count: int, recall: float = RECALL) -> Segment:
    """Make a segment; the memory this takes is that of the segment itself and of a few blocks.

    Parameters
    ----------
    kind : Kind
        `ivf` and `hnsw` of few vectors become another, see `effective`.
    dim : int
    blocks : iterable of (numbers, vectors)
        See `Blocks`.
    count : int
        How many vectors come.
    recall : float
        What `ivf` and `hnsw` shall reach, measured on a sample while they are built.

    Raises
    ------
    InvalidArgument
        When a vector has another width or no direction, more or fewer than
        `count` come, or the numbers do not rise.
    """
    if iter(blocks) is blocks:
        raise InvalidArgument("the blocks of a segment must bear being gone through more than once")
    kind = effective(kind, count)
    if approximate := _APPROXIMATE.get(kind):
        return approximate.build(dim, blocks, count, recall)
    return _EXACT[kind].build(dim, blocks, count)


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
    kind = checked_kind(reader.facts["kind"])
    found = _EXACT.get(kind) or _APPROXIMATE[kind]
    return found.read(reader)
