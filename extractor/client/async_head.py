"""A served head, for the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc

from extractor._pb.penultimate.v1 import heads_pb2 as pb
from extractor.client import failures
from extractor.client.heading import Answered, FitRequests, HeadBase, Inquiry, Request
from extractor.errors import FingerprintMismatch, Unavailable
from extractor.heads_wire import messages
from extractor.heads_wire.values import Classified, Drift, Example, Fitted, HeadInfo, LeftOut, Stage
from extractor.lists import listed

if TYPE_CHECKING:
    from extractor.client.asynchronous import AsyncClient


class AsyncRemoteHead(HeadBase):
    """`RemoteHead` for asyncio: the same names, awaited. Inputs are drawn and read in worker
    threads, so that nothing holds up the event loop.
    """

    def __init__(self, client: AsyncClient, name: str, fingerprint: str | None = None) -> None:
        super().__init__(name, fingerprint)
        self._client = client

    async def classify(
        self, inputs: Iterable[Example], *, beside: Sequence[str] = (), top: int = 5, reject: bool = True
    ) -> list[Classified]:
        """As `RemoteHead.classify`."""
        question = self._question(beside, top, reject=reject)
        inquiry = Inquiry(inputs, question, await self._client._asked())
        async for places, answer in self._client._answers(self._jobs(inquiry)):
            inquiry.fill(places, answer)
        return inquiry.answers()

    async def info(self) -> HeadInfo:
        """As `RemoteHead.info`."""
        return await self._info(self.name)

    async def promote(self, version: int | None = None) -> HeadInfo:
        """As `RemoteHead.promote`."""
        return messages.unpack_info(await self._ask("Promote", self._promotion(version)))

    async def drift(self) -> Drift:
        """As `RemoteHead.drift`."""
        return messages.unpack_drift(await self._ask("GetDrift", pb.GetDriftRequest(name=self.name)))

    async def fit(
        self,
        examples: Iterable[tuple[Example, str]] = (),
        *,
        progress: Callable[[Stage], object] | None = None,
        timeout: float | None = None,
        **how: Any,
    ) -> Fitted:
        """As `RemoteHead.fit`."""
        info, access = await self._client._asked(), self._client._access
        left_out: list[LeftOut] = []
        taken = asyncio.Event()
        requests = FitRequests(listed(examples, "examples"), self._fit_options(how), info, left_out)
        with self._client._peers.chosen() as peer:
            call = peer.fit(_drawn(requests, taken), timeout=timeout, metadata=access.headers())
            try:
                async for message in call:
                    taken.set()
                    said = messages.unpack_progress(message)
                    if isinstance(said, Fitted):
                        return replace(said, left_out=[*left_out, *said.left_out])
                    if progress:
                        progress(said)
            except (grpc.RpcError, asyncio.CancelledError) as failure:
                if requests.error:  # gRPC cancels its call then
                    raise requests.error from None
                if isinstance(failure, asyncio.CancelledError):
                    raise
                raise failures.error_of(failure, peer.address, info.fingerprint) from failure
            finally:
                call.cancel()
        raise Unavailable("the server ended the call before the head was fitted")

    async def _jobs(self, inquiry: Inquiry) -> AsyncIterator[tuple[Coroutine[Any, Any, list[Answered]], int]]:
        requests = inquiry.requests()
        while (request := await asyncio.to_thread(next, requests, None)) is not None:
            if self._client._recall.attempts(request.images):
                await self._recollect(request, attempt=True)
            yield self._answer(request), request.size

    async def _answer(self, request: Request) -> list[Answered]:
        """Ask by digest, where that pays, and send the rest."""
        if self._client._recall.pays(request.images):
            await self._recollect(request, attempt=False)
        if places := list(request.inputs):
            request.answered.append((places, await self._ask("Classify", request.whole())))
        return request.answered

    async def _recollect(self, request: Request, *, attempt: bool) -> None:
        """Ask for what is remembered."""
        asked = request.images
        message = await asyncio.to_thread(request.by_digest)
        known = request.recalled(await self._ask("Classify", message))
        self._client._recall.learn(known, asked, attempt=attempt)

    async def _ask(self, method: str, request: Any) -> Any:
        client = self._client
        message = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            return await client._ask(method, message, client._timeout)
        except FingerprintMismatch as error:
            asked = [await self._info(name) for name in self._asked(method, message)]
            raise self._explained(error, asked) from error.__cause__

    async def _info(self, name: str) -> HeadInfo:
        return messages.unpack_info(await self._ask("GetHead", pb.GetHeadRequest(name=name)))


async def _drawn(requests: Iterator[bytes], taken: asyncio.Event) -> AsyncIterator[bytes]:
    """The requests; all but the first when that is taken: gRPC loses a status that comes while it sends."""
    while (request := await asyncio.to_thread(next, requests, None)) is not None:
        yield request
        await taken.wait()
