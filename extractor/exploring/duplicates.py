"""Images that are the same or nearly so, as groups.

Two images belong together when their files have the same bytes, or the cosine
of their embeddings reaches the threshold; groups are what hangs together by
such pairs (single linkage), so within a large one not every pair is alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from extractor.errors import InvalidArgument
from extractor.exploring.linking import equals, link, screen_of
from extractor.exploring.rows import Places, Rows
from extractor.exploring.watching import Watch, unwatched
from extractor.indexes import SCORE_DECIMALS, unit
from extractor.results import Vector

if TYPE_CHECKING:
    from extractor.collections import Item, Match

THRESHOLD = 0.95
"""The default, measured with EfficientNet-Lite0 at full precision.

Of photos (scikit-image's) it finds all copies saved again as JPEG of quality 90
and 92 % at 75, all at 3/4 and 84 % at 1/2 of the size, and 96 % of those with
2 % cut off; the nearest pair that is not one picture, the two eyes of a stereo
camera, has 0.887 and all others less than 0.5. In a series of one kind
(photos of solar cells) 0.7 % of all pairs of different cells reach it: there
it must be higher, 0.99 for 0.007 %.
"""

_FIRST_SEARCH = 64


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group.

    Attributes
    ----------
    id : str
    score : float
        The cosine with the group's first image.
    exact : bool
        Whether its file has the bytes of the first one's.
    """

    id: str
    score: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Images that belong together, in the order they were written: the first is the oldest."""

    members: Sequence[Member]

    @property
    def exact(self) -> bool:
        """Whether all its files have the same bytes."""
        return all(member.exact for member in self.members)

    @property
    def lowest(self) -> float:
        """The lowest cosine of an image with the first: below the threshold, images in between link them."""
        return min(member.score for member in self.members)


def checked_threshold(threshold: float) -> float:
    """Return `threshold` when it is over 0 and at most 1, else raise InvalidArgument."""
    if not 0 < threshold <= 1:
        raise InvalidArgument(f"the threshold is a cosine over 0 and at most 1, not {threshold:g}")
    return threshold


def find_duplicates(rows: Rows, threshold: float = THRESHOLD, watch: Watch = unwatched) -> Iterator[Group]:
    """Groups of duplicates, the largest first, as large ones in the order they were written.

    Every pair is compared, so time grows with the square of the images, most of
    them by a bound that takes a tenth of the time; memory is that of one tile of
    pairs, and some 600 bytes an image.

    Parameters
    ----------
    rows : Rows
    threshold : float
        From what cosine on two images belong together.
    watch : Watch
        Is shown the tiles of pairs.

    Raises
    ------
    InvalidArgument
        When the threshold is out of range.
    """
    (linked,) = link(rows, [checked_threshold(threshold)], watch, screen_of(rows, watch))
    linked.sets.join(*_same_bytes(rows))
    return (_group(rows, places) for places in linked.sets.groups())


class Searchable(Protocol):
    """What one image is compared with: an `extractor.collections.Collection`, or what looks like one."""

    def search(self, vectors: ArrayLike, k: int, *, min_score: float | None) -> Sequence[Sequence[Match]]: ...  # noqa: D102

    def with_digest(self, digest: bytes) -> Sequence[str]: ...  # noqa: D102

    def get(self, id: str) -> Item: ...  # noqa: D102


def find_duplicates_of(
    collection: Searchable, vector: Vector, digest: bytes, threshold: float = THRESHOLD
) -> list[Member]:
    """The images of a collection that are duplicates of one image, the most alike first.

    Those of the same bytes are among them whatever their vectors.

    Parameters
    ----------
    collection : Collection
    vector : float32 array of shape (dim,)
        The image's embedding.
    digest : bytes
        SHA-256 of its file; `Member.exact` says which have the same.
    threshold : float

    Raises
    ------
    InvalidArgument
        When the threshold is out of range, or the vector does not fit.
    """
    floor, k = checked_threshold(threshold), _FIRST_SEARCH
    while len((matches := collection.search([vector], k, min_score=floor))[0]) == k:
        k *= 4  # there may be more
    same = dict.fromkeys(collection.with_digest(digest) if digest else [])
    members = [Member(match.id, match.score, match.id in same) for match in matches[0]]
    there = {member.id for member in members}
    return [*members, *(_copy(collection, vector, id) for id in same if id not in there)]


def _copy(collection: Searchable, vector: Vector, id: str) -> Member:
    """An image of the same bytes that the search did not give: another numerics computed its vector."""
    pair = unit(np.stack([vector, collection.get(id).vector]), len(vector)).astype(np.float64)
    return Member(id, round(float(pair[0] @ pair[1]), SCORE_DECIMALS), exact=True)


def _same_bytes(rows: Rows) -> tuple[Places, Places]:
    """Each row that has a digest, and the first of the same digest."""
    digests = rows.digests
    known = np.flatnonzero(digests != b"")
    same, first = equals(digests[known])
    return known[same], known[first]


def _group(rows: Rows, places: Places) -> Group:
    scores = _cosines(rows, places)
    digests = rows.digests[places]
    same = (digests == digests[0]) & (digests != b"")
    same[0] = True
    return Group(
        [
            Member(rows.id(place), score, exact)
            for place, score, exact in zip(places.tolist(), scores.tolist(), same.tolist(), strict=True)
        ]
    )


def _cosines(rows: Rows, places: Places) -> NDArray[np.float64]:
    """Of each row with the first of them."""
    first = rows.tile(int(places[0]), 1)[0].astype(np.float64)
    scores = [rows.tile(place, 1)[0].astype(np.float64) @ first for place in places.tolist()]
    return np.round(scores, SCORE_DECIMALS)
