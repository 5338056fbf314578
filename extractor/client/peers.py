"""The servers behind a client's addresses: which gets the next request, and whether they are alike."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from extractor._pb.penultimate.v1 import collections_pb2, heads_pb2
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.collections_wire.messages import SERVICE as COLLECTIONS
from extractor.errors import FingerprintMismatch
from extractor.heads_wire.messages import SERVICE as HEADS
from extractor.wire import Info

_EXTRACTOR = pb.DESCRIPTOR.services_by_name["Extractor"].full_name

SLOW_FOR, SLOW_AT_MOST = 10, 60.0
"""How many times as long as a server took to fail it is tried last, and for how many seconds at most."""

_ANSWERS: dict[str, dict[str, Any]] = {
    _EXTRACTOR: {
        "Embed": pb.EmbedResponse,
        "Lookup": pb.LookupResponse,
        "GetInfo": pb.GetInfoResponse,
    },
    COLLECTIONS: {
        "CreateCollection": collections_pb2.CollectionInfo,
        "GetCollection": collections_pb2.CollectionInfo,
        "ListCollections": collections_pb2.ListCollectionsResponse,
        "DropCollection": collections_pb2.DropCollectionResponse,
        "GetItems": collections_pb2.GetItemsResponse,
        "SetItems": collections_pb2.SetItemsResponse,
        "DeleteItems": collections_pb2.DeleteItemsResponse,
        "ListItems": collections_pb2.ListItemsResponse,
        "Search": collections_pb2.SearchResponse,
    },
    HEADS: {
        "Classify": heads_pb2.ClassifyResponse,
        "ListHeads": heads_pb2.ListHeadsResponse,
        "GetHead": heads_pb2.HeadInfo,
        "Promote": heads_pb2.HeadInfo,
        "GetDrift": heads_pb2.Drift,
    },
}


class Peer:
    """One server, and how it fares.

    Attributes
    ----------
    methods : dict of str to callable
        Its methods, which take requests as bytes: so these are made once, and
        their size is known.
    add_stream : callable
        The one that takes a stream of them, into a collection.
    fit : callable
        The one that takes a stream of labelled images, and makes a head of them.
    calls : int
        Requests that are under way to it.
    failed : bool
        Whether it could not take the last one.
    rests_until : float
        Before which (monotonic seconds) it is to be left alone.
    slow_until : float
        Before which others are better, since it failed only after a long time.
    turn : int
        Larger than those of peers that were chosen longer ago.
    """

    def __init__(self, address: str, channel: Any) -> None:
        self.address, self.channel = address, channel
        self.methods = {
            name: channel.unary_unary(f"/{service}/{name}", response_deserializer=kind.FromString)
            for service, answers in _ANSWERS.items()
            for name, kind in answers.items()
        }
        self.add_stream = channel.stream_stream(
            f"/{COLLECTIONS}/AddStream", response_deserializer=collections_pb2.AddResponse.FromString
        )
        self.fit = channel.stream_stream(
            f"/{HEADS}/Fit", response_deserializer=heads_pb2.FitProgress.FromString
        )
        self.calls = self.turn = 0
        self.failed = False
        self.rests_until = self.slow_until = 0.0

    def is_free(self, now: float) -> bool:
        """Whether requests may go there; one that failed is tried out with a single one."""
        return now >= max(self.rests_until, self.slow_until) and not (self.failed and self.calls)

    def succeeded(self) -> None:
        """It answered, and is as good as any."""
        self.failed, self.rests_until, self.slow_until = False, 0.0, 0.0


class Peers:
    """Chooses for each request the server that has the fewest under way, each in turn among equals.

    A server that failed rests for a while, and requests go to the others.
    """

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.all = peers
        self._turns = itertools.count(1)
        self._lock = threading.Lock()

    @contextmanager
    def chosen(self) -> Iterator[Peer]:
        """The server for a request, which is under way until the end of the block."""
        with self._lock:
            peer = self._best()
            peer.calls += 1
            peer.turn = next(self._turns)
        try:
            yield peer
        finally:
            with self._lock:
                peer.calls -= 1

    def rest(self, peer: Peer, seconds: float, waited: float) -> float:
        """Leave a server that failed alone; seconds after which a request may go to any of them.

        Parameters
        ----------
        peer : Peer
        seconds : float
            How long it is to be left alone.
        waited : float
            Seconds that it took to fail; for a multiple of them, others are better.
        """
        now = time.monotonic()
        with self._lock:
            peer.failed = True
            peer.rests_until = max(peer.rests_until, now + seconds)
            peer.slow_until = max(peer.slow_until, now + min(SLOW_FOR * waited, SLOW_AT_MOST))
            return max(0.0, min(each.rests_until for each in self.all) - now)

    def _best(self) -> Peer:
        if len(self.all) == 1:
            return self.all[0]
        now = time.monotonic()
        free = [peer for peer in self.all if peer.is_free(now)]
        if free:
            return min(free, key=lambda peer: (peer.calls, peer.turn))
        rested = [peer for peer in self.all if now >= peer.rests_until]
        if rested:
            return min(rested, key=lambda peer: (peer.slow_until, peer.calls))
        return min(self.all, key=lambda peer: (peer.rests_until, peer.calls))


def agreed(said: Mapping[str, Info]) -> Info:
    """What servers have in common, from what each said, by its address.

    Returns
    -------
    Info
        The first one's, with the tightest of all limits.

    Raises
    ------
    FingerprintMismatch
        When they run different backbones.
    """
    (address, first), *others = said.items()
    for other, info in others:
        if info.fingerprint != first.fingerprint:
            raise FingerprintMismatch(
                f"what comes from {other}",
                expected=first.fingerprint,
                found=info.fingerprint,
                advice=f"{address} serves {first.backbone} ({first.fingerprint}), {other} serves "
                f"{info.backbone} ({info.fingerprint}): give addresses of servers with one backbone",
            )
    limits = ("message_bytes", "items_per_call", "image_bytes", "image_pixels")
    tightest = {name: min(getattr(info, name) for info in said.values()) for name in limits}
    return dataclasses.replace(first, **tightest)
