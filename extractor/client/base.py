"""What both clients are made from, and know of their servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.allocator import keep_freed_memory
from extractor.client import failures
from extractor.client.access import (
    Access,
    Headers,
    PathLike,
    addresses_of,
    credentials_of,
    refuse_clear_token,
    token_of,
)
from extractor.client.packing import Window
from extractor.client.patience import Patience, checked
from extractor.client.peers import Peer, Peers, agreed
from extractor.client.recall import Recall
from extractor.client.threads import Closing
from extractor.errors import InvalidArgument, Unavailable
from extractor.settings import DEFAULT_ADDRESS
from extractor.wire import Info

Channel = TypeVar("Channel")

TRIES, SHORTEST_TRY = 3, 2.0
"""Where there are several servers, into how many parts a request's time is divided; seconds."""

FIRST_CONTACT = 2.0
"""Seconds after which a server that never answered is given up, so that a wrong address is seen soon."""


class BaseClient(ABC, Generic[Channel]):
    """Takes what both take, which is described at `Client`; keeps what the servers said first."""

    def __init__(
        self,
        address: str | Sequence[str] = DEFAULT_ADDRESS,
        *,
        timeout: float = 60.0,
        tls: bool = False,
        root_certificates: PathLike | None = None,
        certificate: PathLike | None = None,
        key: PathLike | None = None,
        token: str | None = None,
        token_file: PathLike | None = None,
        token_in_clear: bool = False,
        float16: bool = False,
        unit_length: bool = False,
    ) -> None:
        addresses = addresses_of(address)
        self.address = ",".join(addresses)
        self._timeout = checked(timeout)
        self._access = Access(
            credentials_of(tls=tls, root_certificates=root_certificates, certificate=certificate, key=key),
            token_of(token, token_file),
        )
        if self._access.token and not (self._access.credentials or token_in_clear):
            refuse_clear_token(addresses)
        keep_freed_memory()
        self._form = _form(float16=float16, unit_length=unit_length)
        self._recall = Recall()
        self._closing = Closing()
        self._first: Info | None = None
        self._window = Window.over(len(addresses))
        self._peers = Peers([Peer(each, self._open(each)) for each in addresses])

    @property
    def fingerprint(self) -> str:
        """The backbone's fingerprint, in hex."""
        return self._known().fingerprint

    @property
    def dim(self) -> int:
        """The embedding's width."""
        return self._known().dim

    @property
    def numerics(self) -> str:
        """What computes there, such as `cpu/fp32`."""
        return self._known().numerics

    @abstractmethod
    def _open(self, address: str) -> Channel:
        """The channel to one server."""

    @abstractmethod
    def _known(self) -> Info:
        """What was said first."""

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else checked(timeout)

    def _greeting(self, timeout: float | None) -> Patience:
        """For asking the servers what they serve."""
        seconds = self._seconds(timeout)
        return Patience(seconds, each=FIRST_CONTACT if self._several else seconds, again=FIRST_CONTACT)

    def _request(self, seconds: float) -> Patience:
        """For a request; of several servers, one that hangs leaves time for others."""
        each = max(seconds / TRIES, SHORTEST_TRY) if self._several else seconds
        return Patience(seconds, each=each)

    @property
    def _several(self) -> bool:
        return len(self._peers.all) > 1

    def _check_single(self) -> None:
        if self._several:
            raise InvalidArgument(
                f"each of the servers {self.address} has its own collections and heads: open a client of one "
                "of them"
            )

    def _settled(
        self, said: Mapping[str, Info], failed: Mapping[Peer, grpc.RpcError], patience: Patience
    ) -> Info | float:
        """What the servers serve, when one answered at least; else seconds after which to ask again.

        Raises
        ------
        PenultimateError
            When it is of no use to ask again, or a server cannot work with this client.
        """
        waits = [self._pause(peer, failure, patience, others=bool(said)) for peer, failure in failed.items()]
        if not said:
            return min(waits)
        info = agreed(said)
        self._first = self._first or info
        return info

    def _pause(
        self, peer: Peer, failure: grpc.RpcError, patience: Patience, *, others: bool = False
    ) -> float:
        """Seconds before another try; raises the error when there is to be none.

        Parameters
        ----------
        others : bool
            Whether other servers have answered the same already.
        """
        if self._closing.done:
            raise self._closed_error() from failure
        pause = patience.pause(failure)
        if self._several and failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            pause = 0.0  # another may be faster, and nothing is lost when both compute it
        if pause is not None:
            wait = self._peers.rest(peer, pause, patience.waited())
            if patience.allows(wait) or others:
                return wait
        known = self._first.fingerprint if self._first else ""
        raise failures.error_of(failure, peer.address, known) from failure

    def _metadata(self, request: bytes) -> Headers:
        return ((wire.SIZE, str(len(request))), *self._access.headers())

    def _closed_error(self) -> Unavailable:
        return Unavailable(f"the client of {self.address} is closed: open a new one")


def _form(*, float16: bool, unit_length: bool) -> pb.VectorForm | None:
    if not (float16 or unit_length):
        return None
    number = pb.VectorForm.FLOAT16 if float16 else pb.VectorForm.NUMBER_UNSPECIFIED
    return pb.VectorForm(number=number, unit_length=unit_length)
