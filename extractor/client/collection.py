"""A served collection, for the client that blocks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from extractor._pb.penultimate.v1 import collections_pb2 as pb
from extractor.client.collecting import Questions
from extractor.client.collection_base import CollectionBase, Outbox, late, one_record, records, send
from extractor.client.patience import Patience
from extractor.client.peers import Peer
from extractor.client.threads import Here
from extractor.collections_wire import messages
from extractor.collections_wire.values import Added, Example, Found, NewItem, Query, Record, Summary
from extractor.errors import FingerprintMismatch, Unavailable
from extractor.keep import KEEP, Keep

if TYPE_CHECKING:
    from extractor.client.blocking import Client


class RemoteCollection(CollectionBase):
    """A collection of the server's; made by `Client.collection`, which asks nothing yet.

    Calls wait, are tried again and raise as those of the client, and besides:
    NotFound when there is no such collection, and FingerprintMismatch when it
    is of another backbone than the vectors sent, or than the server's where
    images have to be embedded.

    Parameters
    ----------
    client : Client
    name : str
    fingerprint : str, optional
        Of the backbone that made the vectors that will be sent; the server's
        when left out.
    """

    def __init__(self, client: Client, name: str, fingerprint: str | None = None) -> None:
        super().__init__(name, fingerprint)
        self._client = client

    def create(self, *, thumbnails: int | None = None, exist_ok: bool = False) -> Summary:
        """Make it, empty, for the vectors of the server's backbone.

        Parameters
        ----------
        thumbnails : int, optional
            Pixels of the longer side of the small pictures that are kept of
            images; 0 for none, 128 when left out.
        exist_ok : bool

        Raises
        ------
        AlreadyExists
            When there is one of that name, unless that is `exist_ok`.
        FingerprintMismatch
            When this collection was named with the fingerprint of another backbone.
        """
        server = self._client._known().fingerprint
        request = self._creation(server, thumbnails=thumbnails, exist_ok=exist_ok)
        return messages.unpack_summary(self._ask("CreateCollection", request))

    def info(self) -> Summary:
        """What it holds, and how it is searched."""
        request = pb.GetCollectionRequest(name=self.name)
        return messages.unpack_summary(self._ask("GetCollection", request))

    def drop(self) -> None:
        """Remove it with all its items."""
        self._ask("DropCollection", pb.DropCollectionRequest(name=self.name))

    def add(self, items: Iterable[NewItem], *, replace: bool = True) -> list[Added]:
        """One result for each item, in order; parameters and errors as in `stream`."""
        return list(self.stream(items, replace=replace))

    def stream(self, items: Iterable[NewItem], *, replace: bool = True) -> Iterator[Added]:
        """Add items lazily, with a bounded number in memory; each result comes when its item is on disk.

        After a break, what was not acknowledged is sent again.

        Parameters
        ----------
        items : iterable of NewItem
            What is wrong with one of them is in its result.
        replace : bool
            Let items take the place of those of their ids; otherwise they fail,
            alone, with AlreadyExists. So does then an item that was added just
            before the connection broke.
        """
        client = self._client
        outbox = self._outbox(items, client._known(), replace=replace)
        patience = client._request(client._timeout)
        while not client._closing.done:
            with client._peers.chosen() as peer:
                try:
                    for results in self._converse(peer, outbox):
                        patience = client._request(client._timeout)
                        yield from results
                    return
                except grpc.RpcError as failure:
                    pause = self._pause(peer, failure, patience)
            client._closing.wait(pause)
        raise client._closed_error()

    def search(
        self,
        queries: Iterable[Query | Example],
        k: int = 10,
        *,
        where: str = "",
        min_score: float | None = None,
        attributes: bool = False,
    ) -> list[Found]:
        """The `k` items most like each query: one answer for each, in order.

        Parameters
        ----------
        queries : iterable of Query, array, str, bytes, Path or PIL image
            An array is a vector, a `str` the id of an item, all else an image;
            `Query` puts several together. What is wrong with one of them is in
            its answer.
        k : int
        where : str
            Only items for which this holds, such as `label = 'cat'`.
        min_score : float, optional
            Only items of at least this score.
        attributes : bool
            Let each match have its item's label and metadata.
        """
        info = self._client._known()
        head = self._search_head(info, k, where, min_score, attributes=attributes)
        questions = Questions(queries, head, info)
        for places, request in questions.requests():
            questions.fill(places, self._ask("Search", request))
        return questions.answers()

    def get(self, id: str) -> Record:
        """The item of that id, with its vector and thumbnail; NotFound when there is none."""
        return one_record(self._ask("GetItems", self._getting(id)))

    def delete(self, ids: Iterable[str]) -> int:
        """Delete items; how many of them there were."""
        requests = self._deletions(ids, self._client._known())
        return sum(self._ask("DeleteItems", request).count for request in requests)

    def set(
        self,
        ids: Iterable[str],
        *,
        label: str | Keep | None = KEEP,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Change the label and metadata of items; how many of them there were.

        Parameters
        ----------
        ids : iterable of str
        label : str or None
            None takes it away; it stays when left out.
        metadata : mapping, optional
            Merged in by key; None removes a key.
        """
        requests = self._changes(ids, label, metadata, self._client._known())
        return sum(self._ask("SetItems", request).count for request in requests)

    def items(self, *, where: str = "", vectors: bool = False) -> Iterator[Record]:
        """Items in the order in which their vectors were written, read page by page.

        Parameters
        ----------
        where : str
            Only items for which this holds, such as `label = 'cat'`.
        vectors : bool
            With their vectors.
        """
        token: str | None = ""
        while token is not None:
            page = self._ask("ListItems", self._listing(where, token, vectors=vectors))
            yield from records(page)
            token = page.next_page_token or None

    def _ask(self, method: str, request: Any) -> Any:
        client = self._client
        message = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            return client._ask(method, message, client._timeout, Here(client._closing))
        except FingerprintMismatch as error:
            raise self._explained(error) from error

    def _pause(self, peer: Peer, failure: grpc.RpcError, patience: Patience) -> float:
        try:
            return self._client._pause(peer, failure, patience)
        except FingerprintMismatch as error:
            raise self._explained(error) from error

    def _explained(self, error: FingerprintMismatch) -> FingerprintMismatch:
        return self._mismatch(error, self._client.fingerprint, self.info().fingerprint)

    def _converse(self, peer: Peer, outbox: Outbox) -> Iterator[list[Added]]:
        """Send what is left, and give the results as they are acknowledged."""
        to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._client._open_still():
            call = peer.add_stream(iter(to_send.get, None), metadata=self._client._access.headers())
        try:
            for message in outbox.unacknowledged():
                to_send.put(message)
            while send(outbox, to_send.put):
                yield outbox.acknowledged(self._answer(call, peer))
            peer.succeeded()
        finally:
            to_send.put(None)
            call.cancel()

    def _answer(self, call: Any, peer: Peer) -> pb.AddResponse:
        """The next one; the call itself has no deadline, which would be one for all its images."""
        over = threading.Event()

        def give_up() -> None:
            over.set()
            call.cancel()

        watch = threading.Timer(self._client._timeout, give_up)
        watch.daemon = True
        watch.start()
        try:
            answer: pb.AddResponse = next(call)
        except StopIteration:
            raise Unavailable(f"{peer.address} ended the stream before it had answered all of it") from None
        except grpc.RpcError:
            if over.is_set():
                raise late(peer.address) from None
            raise
        finally:
            watch.cancel()
        return answer
