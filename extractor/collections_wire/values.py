"""What goes into a served collection and comes out of it, as callers in Python see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from extractor.errors import PenultimateError
from extractor.indexes import SCORE_DECIMALS
from extractor.lists import listed
from extractor.results import ImageLike, Vector


@dataclass(frozen=True, slots=True, eq=False)
class NewItem:
    """An item to be added to a served collection: by image, which the server embeds, or by vector.

    Attributes
    ----------
    id : str
        The caller's name for it. An item by image may be without: it is then the
        image's SHA-256, in hex.
    image : bytes, path or PIL image
    vector : array of shape (dim,)
        As a backbone gave it, not normalised.
    digest : bytes
        SHA-256 of the image, for an item by vector.
    label : str, optional
    metadata : mapping
        What JSON can say.
    """

    id: str = ""
    image: ImageLike | None = None
    vector: ArrayLike | None = None
    digest: bytes = b""
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one item.

    Attributes
    ----------
    id : str
    digest : bytes
        SHA-256 of the image.
    cached : bool
        The vector was remembered, not computed.
    error : PenultimateError or None
        Why it was not added; without, it is on disk.
    """

    id: str
    digest: bytes = b""
    cached: bool = False
    error: PenultimateError | None = None

    @property
    def ok(self) -> bool:
        """Whether it is on disk."""
        return self.error is None


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An item of a served collection.

    Attributes
    ----------
    id : str
    digest : bytes
        SHA-256 of the image; empty when not known.
    vector : float32 array of shape (dim,), or None
        Where it was asked for.
    label : str or None
    metadata : mapping
    source : str
        The file it was read from, where that was.
    thumbnail : bytes
        A small JPEG file, where it was asked for and there is one.
    """

    id: str
    digest: bytes = b""
    vector: Vector | None = None
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    thumbnail: bytes = b""


Example: TypeAlias = "ImageLike | Vector"
"""Of a query: an array is a vector, a `str` an item's id, all else an image (a path as a `Path`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Several examples averaged, less the average of others.

    Attributes
    ----------
    like, unlike : sequence of array, str, bytes, Path or PIL image
        An array is a vector, a `str` the id of an item, all else an image.

    Raises
    ------
    InvalidArgument
        When one of the two is a single example: `like` is a list also of one.
    """

    like: Sequence[Example]
    unlike: Sequence[Example] = ()

    def __post_init__(self) -> None:
        listed(self.like, "examples to be like")
        listed(self.unlike, "examples to be unlike")


class Neighbour(NamedTuple):
    """One match of a search in a served collection.

    Attributes
    ----------
    id : str
    score : float
        Cosine of the angle between the two vectors: 1 for the same direction.
    label : str or None
    metadata : mapping
        These two where they were asked for.
    """

    id: str
    score: float
    label: str | None = None
    metadata: Mapping[str, Any] = {}

    @property
    def distance(self) -> float:
        """One minus the score: 0 for the same direction."""
        return round(1 - self.score, SCORE_DECIMALS)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query: what matches, best first, or why there is no answer."""

    matches: list[Neighbour]
    error: PenultimateError | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a served collection holds, and how it is searched.

    Attributes
    ----------
    name : str
    fingerprint, backbone : str
        What made its vectors.
    dim : int
    count : int
        Items.
    bytes : int
        On disk.
    labels : dict of str to int
        Items by label.
    thumbnails : int
        Pixels of the longer side of thumbnails; 0 for none.
    index, reason : str
        The kind of index, and why this one, in one line.
    recall : float or None
        Recall@10 of the index, measured; None while it is not.
    segments, tail, deleted : int
        Of the index: its segments, items scanned beside them, and dead places.
    """

    name: str
    fingerprint: str
    backbone: str
    dim: int
    count: int
    bytes: int
    labels: dict[str, int] = field(default_factory=dict)
    thumbnails: int = 0
    index: str = ""
    reason: str = ""
    recall: float | None = None
    segments: int = 0
    tail: int = 0
    deleted: int = 0
