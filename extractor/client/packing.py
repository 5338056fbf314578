"""Images into requests of bounded size, and answers to their places."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

from extractor import sources, wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.errors import ImageTooLarge, InvalidArgument, PenultimateError, UnreadableFile
from extractor.lists import listed
from extractor.results import ImageLike, Result, Vector
from extractor.settings import MAX_MESSAGE_BYTES
from extractor.wire import Info

T = TypeVar("T")

Images: TypeAlias = Iterable[ImageLike] | AsyncIterable[ImageLike]


class Room(NamedTuple):
    """How many images, and bytes of images, go together."""

    images: int
    bytes: int


RoomFor: TypeAlias = Callable[[], Room]

REQUEST_IMAGES = 16
REQUESTS_UNDER_WAY = 8
BYTES_UNDER_WAY = 32 * 2**20  # four packs that are asked for: some are hashed while others are on their way

SENT = Room(REQUEST_IMAGES, 2 * 2**20)
"""For images that are sent: so many that a request's own cost does not show."""

ASKED_FOR = Room(128, 8 * 2**20)
"""For images that are asked for by digest: a question costs as much as several of them."""

DIGEST_BYTES = hashlib.sha256().digest_size

AROUND_VECTOR = 300
"""Bytes of an answer that an image takes at most beside its vector: digest, numerics, timings."""


class Window(NamedTuple):
    """How many requests, and bytes of images, are under way before no more is read."""

    requests: int
    bytes: int

    @classmethod
    def over(cls, servers: int) -> Window:
        """As much for each server as one has alone, up to four times."""
        times = min(servers, 4)
        return cls(times * REQUESTS_UNDER_WAY, times * BYTES_UNDER_WAY)

    def is_full(self, requests: int, size: int) -> bool:
        """Whether with so much under way the oldest has to be waited for."""
        return requests >= self.requests or size >= self.bytes


@dataclass(slots=True)
class Pack:
    """Some images and, one after the other, their results.

    Attributes
    ----------
    results : list of Result or None
        None for what is not known yet.
    unknown : dict of int to bytes
        The images that have no result yet, by their places.
    size : int
        Their bytes.
    last : bool
        Whether no other comes after it.
    """

    results: list[Result | None] = field(default_factory=list)
    unknown: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    last: bool = False

    def add(self, item: bytes | Result) -> None:
        """Take an image, or the result of one that needs no server."""
        if isinstance(item, Result):
            self.results.append(item)
            return
        self.unknown[len(self.results)] = item
        self.results.append(None)
        self.size += len(item)

    def fill(self, places: Iterable[int], results: Iterable[Result | None]) -> int:
        """Put results in their places, as far as there are any; how many there were."""
        before = len(self.unknown)
        for place, result in zip(places, results, strict=True):
            if result is not None:
                self.results[place] = result
                del self.unknown[place]
        return before - len(self.unknown)

    def parts(self, info: Info) -> Iterator[list[int]]:
        """The places of what is unknown, in parts that fit into a request each."""
        room = within(SENT, info)
        part: list[int] = []
        size = 0
        for place, image in list(self.unknown.items()):
            if part and (len(part) == room.images or size + len(image) > room.bytes):
                yield part
                part, size = [], 0
            part.append(place)
            size += len(image)
        if part:
            yield part

    def digests(self) -> list[bytes]:
        """SHA-256 of what is unknown; long, and other threads run meanwhile."""
        return [hashlib.sha256(image).digest() for image in self.unknown.values()]

    def answer(self) -> list[Result]:
        """The results, once nothing is unknown."""
        return [result for result in self.results if result is not None]


def packs(images: Iterable[ImageLike], info: Info, room_for: RoomFor) -> Iterator[Pack]:
    """Read images and group them, lazily, in order.

    Parameters
    ----------
    images : iterable of bytes, path or PIL image
    info : Info
        Says what the server accepts.
    room_for : callable
        Asked for each pack how large it may be.
    """
    read = functools.partial(
        _read, fingerprint=info.fingerprint, limit=min(info.image_bytes, message_room(info))
    )
    pack, room = Pack(), within(room_for(), info)
    for image in sources.several(images):
        item = read(image)
        if pack.results and isinstance(item, bytes) and pack.size + len(item) > room.bytes:
            yield pack
            pack, room = Pack(), within(room_for(), info)
        pack.add(item)
        if len(pack.results) == room.images:
            yield pack
            pack, room = Pack(), within(room_for(), info)
    if pack.results:
        pack.last = True
        yield pack


def recalled(answer: pb.LookupResponse, digests: Sequence[bytes]) -> list[Result | None]:
    """The results of images that are remembered."""
    return [
        row and Result(row.vector, None, digest, True, answer.fingerprint, row.numerics)
        for row, digest in zip(wire.unpack_rows(answer, len(digests)), digests, strict=True)
    ]


def vectors(answer: pb.LookupResponse, count: int) -> list[Vector | None]:
    """The vectors that are remembered."""
    return [row and row.vector for row in wire.unpack_rows(answer, count)]


def checked(digests: Iterable[bytes]) -> list[bytes]:
    """All of the digests; raises InvalidArgument when one is none."""
    found = list(listed(digests, "digests"))
    for digest in found:
        if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
            raise InvalidArgument(f"a digest is a SHA-256 of {DIGEST_BYTES} bytes, not {digest!r:.80}")
    return found


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Items `size` at a time."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def most_items(info: Info) -> int:
    """How many images or digests go together: the vectors of the answer have to fit into a message too."""
    fitting = info.message_bytes // (4 * info.dim + AROUND_VECTOR)
    return max(1, min(info.items_per_call, fitting))


def within(room: Room, info: Info) -> Room:
    """As much of `room` as the server takes."""
    return Room(min(room.images, most_items(info)), min(room.bytes, message_room(info)))


def message_room(info: Info) -> int:
    """Bytes for images in a message, with a kibibyte for what is around them."""
    return min(info.message_bytes, MAX_MESSAGE_BYTES) - 1024


def _read(image: Any, fingerprint: str, limit: int) -> bytes | Result:
    try:
        data = image if type(image) is bytes else sources.read(image)
        if len(data) <= limit:
            return data
        error: PenultimateError = ImageTooLarge(
            f"the image has {len(data):,} bytes, and the server takes at most {limit:,}"
        )
    except PenultimateError as known:
        error = known
    except Exception as unknown:  # noqa: BLE001 - one image fails alone, whatever happens
        error = UnreadableFile(f"an image cannot be read ({type(unknown).__name__}: {unknown})")
    return Result(None, error, None, False, fingerprint)
