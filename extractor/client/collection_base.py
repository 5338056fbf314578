"""What the served collections of both clients have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.client import packing
from extractor.client.collecting import Parcel, parcels, sendable
from extractor.collections_wire import messages
from extractor.collections_wire.values import Added, NewItem, Record
from extractor.errors import DeadlineExceeded, FingerprintMismatch, InvalidArgument
from extractor.keep import Keep
from extractor.lists import listed
from extractor.wire import Info

UNDER_WAY = 8
"""Requests of a stream that are not acknowledged; the server takes no more of one stream at a time."""


class Outbox:
    """The requests of a stream: each is kept until it is acknowledged, to be sent again after a break.

    Parameters
    ----------
    waiting : iterator of Parcel
        Drawn from only while few are unacknowledged.
    """

    def __init__(self, waiting: Iterator[Parcel]) -> None:
        self._waiting = waiting
        self._sent: deque[Parcel] = deque()

    def unacknowledged(self) -> list[bytes]:
        """What a new call begins with."""
        return [parcel.message() for parcel in self._sent]

    @property
    def has_room(self) -> bool:
        """Whether another may be sent before one is acknowledged."""
        return len(self._sent) < UNDER_WAY

    @property
    def is_empty(self) -> bool:
        """Whether all that was sent is acknowledged."""
        return not self._sent

    def next(self) -> bytes | None:
        """One more to send; None when there are no more."""
        parcel = next(self._waiting, None)
        if parcel is None:
            return None
        self._sent.append(parcel)
        return parcel.message()

    def acknowledged(self, answer: pb.AddResponse) -> list[Added]:
        """What became of the items of the oldest."""
        results = self._sent[0].answered(answer)
        self._sent.popleft()
        return results


class CollectionBase:
    """A collection by its name, and the requests about it.

    Parameters
    ----------
    name : str
    fingerprint : str, optional
        Of the vectors that will be sent; the server's backbone's when left out.
    """

    def __init__(self, name: str, fingerprint: str | None) -> None:
        self.name = name
        self._fingerprint = fingerprint

    def _outbox(self, items: Iterable[NewItem], info: Info, *, replace: bool) -> Outbox:
        head = pb.AddRequest(
            collection=self.name,
            fingerprint=self._fingerprint or info.fingerprint,
            if_exists=pb.AddRequest.REPLACE if replace else pb.AddRequest.ERROR,
        )
        return Outbox(parcels(listed(items, "items"), head, info))

    def _search_head(
        self, info: Info, k: int, where: str, min_score: float | None, *, attributes: bool
    ) -> pb.SearchRequest:
        if k < 1:
            raise InvalidArgument(f"k, the number of neighbours, must be at least 1, not {k}")
        return pb.SearchRequest(
            collection=self.name,
            fingerprint=self._fingerprint or info.fingerprint,
            k=k,
            filter=where,
            min_score=min_score,
            attributes=attributes,
        )

    def _deletions(self, ids: Iterable[str], info: Info) -> Iterator[pb.DeleteItemsRequest]:
        for some in packing.batched(_checked(ids), info.items_per_call):
            yield pb.DeleteItemsRequest(collection=self.name, ids=some)

    def _changes(
        self, ids: Iterable[str], label: str | Keep | None, metadata: Mapping[str, Any] | None, info: Info
    ) -> Iterator[pb.SetItemsRequest]:
        change = pb.SetItemsRequest(
            collection=self.name,
            label=label if isinstance(label, str) else None,
            clear_label=label is None,
            metadata=messages.pack_metadata(metadata or {}),
        )
        for some in packing.batched(_checked(ids), info.items_per_call):
            request = pb.SetItemsRequest(ids=some)
            request.MergeFrom(change)
            yield request

    def _getting(self, id: str) -> pb.GetItemsRequest:
        return pb.GetItemsRequest(collection=self.name, ids=[sendable(id)], vectors=True, thumbnails=True)

    def _listing(self, where: str, token: str, *, vectors: bool) -> pb.ListItemsRequest:
        return pb.ListItemsRequest(collection=self.name, filter=where, vectors=vectors, page_token=token)

    def _creation(self, server: str, *, thumbnails: int | None, exist_ok: bool) -> pb.CreateCollectionRequest:
        """Of the backbone of this fingerprint, which the server's collections are made for."""
        if self._fingerprint not in (None, server):
            raise FingerprintMismatch(
                f"what is to be sent to the collection {self.name!r}",
                server,
                self._fingerprint,
                "A server makes collections for its own backbone: leave the fingerprint out, or make it with "
                "`penultimate index` or `collections import`",
            )
        return pb.CreateCollectionRequest(name=self.name, thumbnails=thumbnails, exist_ok=exist_ok)

    def _mismatch(self, error: FingerprintMismatch, server: str, there: str) -> FingerprintMismatch:
        """What does not fit together, of the caller, the server and the collection there.

        Parameters
        ----------
        error : FingerprintMismatch
            As the client takes it, which knows of no collections.
        server, there : str
            The fingerprints of the server's backbone and of the collection.
        """
        if error.expected == there:
            return FingerprintMismatch(
                f"what was sent to the collection {self.name!r}", there, self._fingerprint or server
            )
        return FingerprintMismatch(
            f"the collection {self.name!r}",
            error.expected,
            there,
            "The server cannot embed for it: send vectors of its own backbone, with their fingerprint",
        )


def _checked(ids: Iterable[str]) -> list[str]:
    """All of the ids, before the first request goes out."""
    return [sendable(id) for id in listed(ids, "ids")]


def records(page: pb.ListItemsResponse) -> list[Record]:
    """The items of one page."""
    return [messages.unpack_record(item, page.dim) for item in page.items]


def one_record(answer: pb.GetItemsResponse) -> Record:
    """The item that alone was asked for; raises why there is none."""
    messages.check_count(len(answer.results), 1)
    (result,) = answer.results
    if result.HasField("error"):
        raise messages.unpack_error(result.error)
    return messages.unpack_record(result.item, answer.dim)


def send(outbox: Outbox, put: Callable[[bytes], object]) -> bool:
    """Send as much as there is room for; whether an answer is to be waited for."""
    while outbox.has_room and (message := outbox.next()) is not None:
        put(message)
    return not outbox.is_empty


def late(address: str) -> DeadlineExceeded:
    """The error for an acknowledgement that does not come."""
    return DeadlineExceeded(f"no answer from {address} in time: allow a longer `timeout`")
