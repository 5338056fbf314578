"""A served head, for the client that blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc

from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.client import failures
from extractor.client.heading import Answered, FitRequests, HeadBase, Inquiry, Request
from extractor.client.threads import Calls, Here, Job, Workers
from extractor.errors import FingerprintMismatch, Unavailable
from extractor.heads_wire import messages
from extractor.heads_wire.values import Classified, Drift, Example, Fitted, HeadInfo, LeftOut, Stage
from extractor.lists import listed

if TYPE_CHECKING:
    from extractor.client.blocking import Client


class RemoteHead(HeadBase):
    """A head of the server's; made by `Client.head`, which asks nothing yet.

    Calls wait, are tried again and raise as those of the client, and besides:
    NotFound when there is no such head, and FingerprintMismatch when it takes
    the embeddings of another backbone.

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

    def classify(
        self, inputs: Iterable[Example], *, beside: Sequence[str] = (), top: int = 5, reject: bool = True
    ) -> list[Classified]:
        """What each input is: one result for each, in order.

        Where the server remembers most of the images, only their digests are sent.

        Parameters
        ----------
        inputs : iterable of HeadInput, array, bytes, path or PIL image
            An array is a vector, all but a `HeadInput` an image. What is wrong
            with one of them is in its result.
        beside : sequence of str
            Names of further heads: each image is embedded once for all of them.
        top : int
            How many classes of each head.
        reject : bool
            Say of an image that is none of the classes that it is unknown.
        """
        question = self._question(beside, top, reject=reject)
        inquiry = Inquiry(inputs, question, self._client._known())
        with Workers[Answered](self._client._closing, self._client._window) as workers:
            for places, answer in workers.answers(self._jobs(inquiry)):
                inquiry.fill(places, answer)
        return inquiry.answers()

    def info(self) -> HeadInfo:
        """Its versions, and which of them answers."""
        return self._info(self.name)

    def promote(self, version: int | None = None) -> HeadInfo:
        """Let a version answer from now on, by default the newest."""
        return messages.unpack_info(self._ask("Promote", self._promotion(version)))

    def drift(self) -> Drift:
        """How far what it was lately asked about is from what it was fitted on."""
        return messages.unpack_drift(self._ask("GetDrift", pb.GetDriftRequest(name=self.name)))

    def fit(
        self,
        examples: Iterable[tuple[Example, str]] = (),
        *,
        progress: Callable[[Stage], object] | None = None,
        timeout: float | None = None,
        **how: Any,
    ) -> Fitted:
        """Fit a new version on the server.

        It is tried once: a fit that breaks off has changed nothing.

        Parameters
        ----------
        examples : iterable of tuple
            An input, as of `classify`, and its label; drawn from while the
            server embeds them.
        progress : callable, optional
            Is told how far it is.
        timeout : float, optional
            Seconds for the whole of it; without, as long as it takes.
        **how
            Fields of `FitOptions`, such as `kind="auto"`, `promote=True`, or
            `collection="cells"` to fit on that one's labels.

        Raises
        ------
        InvalidArgument
            When no head can be fitted on them.
        Overloaded
            When the server is fitting another.
        """
        info, access = self._client._known(), self._client._access
        left_out: list[LeftOut] = []
        requests = FitRequests(listed(examples, "examples"), self._fit_options(how), info, left_out)
        with self._client._peers.chosen() as peer:
            with self._client._open_still():
                call = peer.fit(requests, timeout=timeout, metadata=access.headers())
            try:
                fitted = last(map(messages.unpack_progress, call), progress)
                return replace(fitted, left_out=[*left_out, *fitted.left_out])
            except grpc.RpcError as failure:
                if requests.error:
                    raise requests.error from None
                raise failures.error_of(failure, peer.address, info.fingerprint) from failure
            finally:
                call.cancel()

    def _jobs(self, inquiry: Inquiry) -> Iterator[Job[Answered]]:
        requests = inquiry.requests()
        drawn = next(requests, None)
        while drawn:
            request, drawn = drawn, next(requests, None)
            if self._client._recall.attempts(request.images):
                self._recollect(request, Here(self._client._closing), attempt=True)
            yield Job(functools.partial(self._answer, request), request.size, last=drawn is None)

    def _answer(self, request: Request, calls: Calls) -> list[Answered]:
        """Ask by digest, where that pays, and send the rest."""
        if self._client._recall.pays(request.images):
            self._recollect(request, calls, attempt=False)
        if places := list(request.inputs):
            request.answered.append((places, self._ask("Classify", request.whole(), calls)))
        return request.answered

    def _recollect(self, request: Request, calls: Calls, *, attempt: bool) -> None:
        """Ask for what is remembered."""
        asked = request.images
        known = request.recalled(self._ask("Classify", request.by_digest(), calls))
        self._client._recall.learn(known, asked, attempt=attempt)

    def _ask(self, method: str, request: Any, calls: Calls | None = None) -> Any:
        client = self._client
        message = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            return client._ask(method, message, client._timeout, calls or Here(client._closing))
        except FingerprintMismatch as error:
            asked = map(self._info, self._asked(method, message))
            raise self._explained(error, asked) from error.__cause__

    def _info(self, name: str) -> HeadInfo:
        return messages.unpack_info(self._ask("GetHead", pb.GetHeadRequest(name=name)))


def last(messages_: Iterator[Stage | Fitted], progress: Callable[[Stage], object] | None) -> Fitted:
    """What came of a fit; raises Unavailable when the server ends without a word of it."""
    for each in messages_:
        if isinstance(each, Fitted):
            return each
        if progress:
            progress(each)
    raise Unavailable("the server ended the call before the head was fitted")
