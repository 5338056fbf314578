"""The client that blocks."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any

import grpc

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.collections_pb2 import ListCollectionsRequest
from extractor._pb.penultimate.v1.heads_pb2 import ListHeadsRequest
from extractor.client import packing
from extractor.client.access import options_of
from extractor.client.base import BaseClient
from extractor.client.collection import RemoteCollection
from extractor.client.head import RemoteHead
from extractor.client.packing import Pack
from extractor.client.peers import Peer
from extractor.client.progress import Progress, counting
from extractor.client.threads import Calls, Here, Job, Workers
from extractor.heads_wire.messages import unpack_info
from extractor.heads_wire.values import HeadInfo
from extractor.results import ImageLike, Result, Vector
from extractor.wire import Info


class Client(BaseClient[grpc.Channel]):
    """Embeds images through running services; implements `Embeds`.

    Connects on first use. Works with one backbone for its whole life: when a
    server comes back with another, calls fail and vectors never mix. Several
    threads may use one client.

    Parameters
    ----------
    address : str or sequence of str
        `HOST:PORT` of the server. Several, in a list or with commas between
        them, share the requests: each goes to the server with the fewest
        under way, and when that fails, or takes a third of `timeout`, to
        another at once.
    timeout : float
        Seconds that the answer to one request is waited for. While the server
        is full, restarting or gone, the request is tried again until then.
        Only the first contact is given up after two seconds without a server.
    tls : bool
        Encrypt, and trust the authorities that this system trusts.
    root_certificates : path, optional
        Encrypt, and trust the authorities in this PEM file instead.
    certificate, key : path, optional
        PEM files by which servers know this client (mutual TLS).
    token : str, optional
        Sent with each call as `authorization: Bearer TOKEN`. When neither
        this nor `token_file` is given, `$PENULTIMATE_TOKEN` is.
    token_file : path, optional
        A file with the token, read anew for each call.
    token_in_clear : bool
        Send the token to other machines without TLS too, where anybody on the
        way can read it.
    float16 : bool
        Let vectors travel in half the bytes, each number rounded to eleven
        significant bits; they are float32 again in the results.
    unit_length : bool
        Let the server divide each vector by its length.

    Raises
    ------
    InvalidArgument
        When one of these cannot be used.
    """

    def info(self, *, timeout: float | None = None) -> Info:
        """What the servers serve now.

        Parameters
        ----------
        timeout : float, optional
            In place of the client's.

        Raises
        ------
        Unavailable
            When no server is there, or it has not started yet.
        Unauthenticated
            When a server and the client do not trust each other.
        FingerprintMismatch
            When servers run different backbones.
        """
        patience = self._greeting(timeout)
        while not self._closing.done:
            info = self._settled(*self._greet(patience.for_try()), patience)
            if isinstance(info, Info):
                return info
            self._closing.wait(info)
        raise self._closed_error()

    def lookup(self, digests: Sequence[bytes], *, timeout: float | None = None) -> list[Vector | None]:
        """What the servers remember for the images with these SHA-256 digests; None for what they do not.

        Nothing is computed. Parameters and errors as in `stream`.
        """
        seconds = self._seconds(timeout)
        jobs = (
            Job(functools.partial(self._vectors, some, seconds), 0, last=False)
            for some in packing.batched(packing.checked(digests), packing.most_items(self._known()))
        )
        with Workers[Vector | None](self._closing, self._window) as workers:
            return list(workers.answers(jobs))

    def embed(
        self, images: Iterable[ImageLike], *, timeout: float | None = None, progress: Progress = False
    ) -> list[Result]:
        """One result for each image, in order; parameters and errors as in `stream`."""
        return list(self.stream(images, timeout=timeout, progress=progress))

    def stream(
        self, images: Iterable[ImageLike], *, timeout: float | None = None, progress: Progress = False
    ) -> Iterator[Result]:
        """Like `embed`, lazily, with a bounded number of images in memory.

        Where servers remember most of the images, only their digests are sent.

        Parameters
        ----------
        images : iterable of bytes, path or PIL image
            What is wrong with one of them is in its result.
        timeout : float, optional
            In place of the client's.
        progress : bool or callable
            True shows a bar on standard error; a function is called with the
            number of results so far, and of all (None when not known).

        Raises
        ------
        Unavailable, Overloaded, DeadlineExceeded
            When the servers are gone, full or too slow, and stay so.
        Unauthenticated
            When a server and the client do not trust each other.
        FingerprintMismatch
            When a server now runs another backbone than at first.
        """
        results = self._stream(images, self._seconds(timeout))
        return _counted(results, progress, images) if progress else results

    def collection(self, name: str, *, fingerprint: str | None = None) -> RemoteCollection:
        """A collection of the server's, which is asked nothing yet.

        Parameters
        ----------
        name : str
        fingerprint : str, optional
            Of the vectors that will be sent, where the server's own backbone
            did not make them.

        Raises
        ------
        InvalidArgument
            When the client has several servers: each has its own collections.
        """
        self._check_single()
        return RemoteCollection(self, name, fingerprint)

    def collections(self) -> list[str]:
        """The names of the server's collections, in order."""
        self._check_single()
        request = ListCollectionsRequest().SerializeToString()
        return list(self._ask("ListCollections", request, self._timeout, Here(self._closing)).names)

    def head(self, name: str, *, fingerprint: str | None = None) -> RemoteHead:
        """A head of the server's, which is asked nothing yet.

        Parameters
        ----------
        name : str
            "imagenet" is the backbone's own.
        fingerprint : str, optional
            Of the vectors that will be sent, where the server's own backbone
            did not make them.

        Raises
        ------
        InvalidArgument
            When the client has several servers: each has its own heads.
        """
        self._check_single()
        return RemoteHead(self, name, fingerprint)

    def heads(self) -> list[HeadInfo]:
        """The server's heads that were fitted, by name."""
        self._check_single()
        request = ListHeadsRequest().SerializeToString()
        answer = self._ask("ListHeads", request, self._timeout, Here(self._closing))
        return [unpack_info(each) for each in answer.heads]

    def close(self) -> None:
        """Close the connections; calls under way fail with Unavailable."""
        self._closing.close()
        for peer in self._peers.all:
            peer.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, address: str) -> grpc.Channel:
        options = options_of(address)
        if self._access.credentials:
            return grpc.secure_channel(address, self._access.credentials, options)
        return grpc.insecure_channel(address, options)

    def _known(self) -> Info:
        return self._first or self.info()

    def _greet(self, seconds: float) -> tuple[dict[str, Info], dict[Peer, grpc.RpcError]]:
        """What each server says, by its address, and why others say nothing."""
        said: dict[str, Info] = {}
        failed: dict[Peer, grpc.RpcError] = {}
        greeting = pb.GetInfoRequest().SerializeToString()
        how = {"timeout": seconds, "metadata": self._metadata(greeting)}
        with self._open_still():
            calls = [(peer, peer.methods["GetInfo"].future(greeting, **how)) for peer in self._peers.all]
        for peer, call in calls:
            try:
                said[peer.address] = wire.unpack_info(call.result())
            except grpc.RpcError as failure:
                failed[peer] = failure
        return said, failed

    def _stream(self, images: Iterable[ImageLike], seconds: float) -> Generator[Result]:
        with Workers[Result](self._closing, self._window) as workers:
            yield from workers.answers(self._jobs(images, seconds))

    def _jobs(self, images: Iterable[ImageLike], seconds: float) -> Iterator[Job[Result]]:
        """The work on the images, in packs; where it is uncertain whether to ask first, that is found out."""
        for pack in packing.packs(images, self._known(), self._recall.room):
            if self._recall.attempts(len(pack.unknown)):
                self._recollect(pack, seconds, Here(self._closing), attempt=True)
            yield Job(functools.partial(self._answer, pack, seconds), pack.size, pack.last)

    def _answer(self, pack: Pack, seconds: float, calls: Calls) -> list[Result]:
        """Ask what is remembered, where that pays, and send the rest."""
        if self._recall.pays(len(pack.unknown)):
            self._recollect(pack, seconds, calls, attempt=False)
        info = self._known()
        for places in pack.parts(info):
            images = (pack.unknown[place] for place in places)
            request = wire.pack_images(images, info.fingerprint, self._form)
            answer = self._ask("Embed", request, seconds, calls)
            pack.fill(places, wire.unpack_results(answer, len(places)))
        return pack.answer()

    def _recollect(self, pack: Pack, seconds: float, calls: Calls, *, attempt: bool) -> None:
        """Put what is remembered in its places in the pack."""
        places, digests = list(pack.unknown), pack.digests()
        found = self._look_up(digests, seconds, calls)
        known = pack.fill(places, packing.recalled(found, digests))
        self._recall.learn(known, len(digests), attempt=attempt)

    def _vectors(self, digests: Sequence[bytes], seconds: float, calls: Calls) -> list[Vector | None]:
        return packing.vectors(self._look_up(digests, seconds, calls), len(digests))

    def _look_up(self, digests: Sequence[bytes], seconds: float, calls: Calls) -> pb.LookupResponse:
        fingerprint = self._known().fingerprint
        request = pb.LookupRequest(digests=digests, fingerprint=fingerprint, form=self._form)
        answer: pb.LookupResponse = self._ask("Lookup", request.SerializeToString(), seconds, calls)
        return answer

    def _ask(self, method: str, message: bytes, seconds: float, calls: Calls) -> Any:
        """The answer, after as many tries as it takes."""
        patience = self._request(seconds)
        while not self._closing.done:
            with self._peers.chosen() as peer:
                try:
                    return self._try(peer, method, message, patience.for_try(), calls)
                except grpc.RpcError as failure:
                    pause = self._pause(peer, failure, patience)
            calls.pause(pause)
        raise self._closed_error()

    def _try(self, peer: Peer, method: str, message: bytes, seconds: float, calls: Calls) -> Any:
        metadata = self._metadata(message)
        with self._open_still():
            answer = calls.run(peer.methods[method], message, timeout=seconds, metadata=metadata)
        peer.succeeded()
        return answer

    @contextmanager
    def _open_still(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, grpc.FutureCancelledError) as closed:  # gRPC's ValueError is for a closed channel
            raise self._closed_error() from closed


def _counted(
    results: Generator[Result], progress: Progress, images: Iterable[ImageLike]
) -> Generator[Result]:
    with closing(results), counting(progress, images) as count:
        for result in results:
            yield result
            count()
