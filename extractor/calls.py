"""What all calls of all services pass: readiness, the door, errors to statuses, those who watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from extractor import wire
from extractor.call import GONE, Call, Context, Observer, call_of
from extractor.door import Door
from extractor.errors import (
    InternalError,
    InvalidArgument,
    Overloaded,
    PenultimateError,
    Unavailable,
    drop_frames,
)
from extractor.settings import ServiceLimits

log = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)
T = TypeVar("T")
Handler: TypeAlias = "Callable[[Request, Call], Awaitable[Message]]"
Gate: TypeAlias = "Callable[[Call], Callable[[], object]]"
Conversation: TypeAlias = "Callable[[AsyncIterator[Request], Call], AsyncGenerator[Message]]"

MESSAGES_UNDER_WAY = 8
"""Messages of one stream that may be unanswered before the next is received."""


def _nothing() -> None:
    pass


class Calls:
    """The calls on one port, of whatever service.

    Parameters
    ----------
    limits : ServiceLimits
    observers : sequence of Observer

    Attributes
    ----------
    not_ready : str
        Why calls fail with Unavailable; empty while the server serves.
    observers : tuple of Observer
    """

    def __init__(self, limits: ServiceLimits, observers: Sequence[Observer] = ()) -> None:
        self.not_ready = "it is starting: its network is being loaded and tested"
        self.limits = limits
        self.door = Door(limits.bytes_at_once, limits.patience)
        self.observers = tuple(observers)
        self._accepted: set[asyncio.Task[Any]] = set()
        self._reading: set[asyncio.Task[None]] = set()

    def unary(
        self,
        method: str,
        handler: Handler[Request],
        kind: type[Request],
        room: int,
        gate: Gate = lambda _call: _nothing,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What gRPC calls for a method of one request and one answer.

        The request is a stream to gRPC, though of one message, so that it lets
        us say when to receive it; on the wire there is no difference.

        Parameters
        ----------
        method : str
            Its full name.
        handler : callable
            Accepts a request at once, or raises; what it returns is awaited
            for the answer.
        kind : type of message
            The request's.
        room : int
            How many bytes to expect of a request that says nothing of its size.
        gate : callable, optional
            Raises for calls that need not even be received; what it returns
            is called once the handler has accepted the request, or will not.
        """

        async def once(call: Call, context: Context) -> bytes:
            leave = gate(call)
            try:
                message = await self.door.receive(context, wire.said_size(call.metadata, room))
                if message is None:
                    raise InvalidArgument("the call ended before it had sent a message")
                answer = self._begin(handler, kind, message, call)
            finally:
                leave()
            del message
            return await answer

        return grpc.stream_unary_rpc_method_handler(partial(self._watch, method, once))

    def stream(
        self, method: str, handler: Handler[Request], kind: type[Request]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What gRPC calls for a method of many requests, each answered as by `unary`, in their order."""

        async def many(call: Call, context: Context) -> None:
            self.check_ready()
            if len(self._reading) >= self.limits.streams:
                raise Overloaded(f"{len(self._reading)} streams are open (at most {self.limits.streams})")
            await self._converse(handler, kind, call, context)

        return grpc.stream_stream_rpc_method_handler(partial(self._watch, method, many))

    def conversation(
        self, method: str, talk: Conversation[Request], kind: type[Request]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What gRPC calls for a method that reads requests as it likes, and answers when it has something.

        Parameters
        ----------
        method : str
            Its full name.
        talk : callable
            Is given the requests, one at a time, and generates the answers; it
            is closed when the caller leaves.
        kind : type of message
            The requests'.
        """

        async def many(call: Call, context: Context) -> None:
            self.check_ready()
            async with (
                aclosing(self._received(kind, context)) as requests,
                aclosing(talk(requests, call)) as answers,
            ):
                async for answer in answers:
                    with GONE:
                        await context.write(answer.SerializeToString())

        return grpc.stream_stream_rpc_method_handler(partial(self._watch, method, many))

    async def _received(self, kind: type[Request], context: Context) -> AsyncGenerator[Request]:
        """The requests of a conversation; the room of each is free again when the next is asked for."""
        while (message := await self.door.receive(context, 0)) is not None:
            size = len(message)
            try:
                yield wire.parse(kind, message)
            finally:
                self.door.release(size)

    def ready(self, _call: Call) -> Callable[[], object]:
        """The gate of calls that anybody may make while the server serves."""
        self.check_ready()
        return _nothing

    def check_ready(self) -> None:
        """Raise Unavailable while the server does not serve."""
        if self.not_ready:
            raise Unavailable(f"the server does not answer: {self.not_ready}")

    def accept(self, call: Call, items: int) -> None:
        """The server will answer this call for `items` images, whatever comes: `drain` waits for it."""
        call.items += items
        if call.task not in self._accepted:
            self._accepted.add(call.task)
            call.task.add_done_callback(self._accepted.discard)

    async def drain(self, grace: float) -> None:
        """Take nothing new, and wait at most `grace` seconds for what was accepted to be answered."""
        self.not_ready = "it is stopping"
        for reading in self._reading:
            reading.cancel()
        if self._accepted:
            await asyncio.wait(self._accepted, timeout=grace)

    async def _watch(
        self, method: str, work: Callable[[Call, Context], Awaitable[T]], _requests: object, context: Context
    ) -> T:
        """Do the call's `work`, with its errors as statuses, and tell how it ended.

        An error that nobody raised on purpose is logged with its trace; the
        caller gets a plain sentence.
        """
        call = call_of(method, context, self.observers)
        code, why = grpc.StatusCode.CANCELLED, "the caller has gone, or its deadline has passed"
        for watcher in self.observers:
            watcher.begun(call)
        try:
            answer = await work(call, context)
            # Here, since a call that fails sends its own.
            context.set_trailing_metadata(((wire.REQUEST_ID, call.request_id),))
            code, why = grpc.StatusCode.OK, ""
            return answer
        except Exception as error:  # whatever it is, the caller gets a status
            code, why, trailers = wire.status_of(_deliberate(error, call))
            drop_frames(error)  # they hold the context, as below
            # Not `set_code`: it begins an answer first, and gRPC's own retries take no begun one back.
            with GONE:
                await context.abort(code, why, (*trailers, (wire.REQUEST_ID, call.request_id)))
            raise  # never reached: to abort is to raise
        finally:
            for watcher in self.observers:
                watcher.ended(call, code, why)
            # What gRPC has of a call holds the error that `abort` raises, the error this frame, and the
            # frame, by these two, what gRPC has: a refused call, and what it sent, would stay in memory
            # until the garbage collector comes.
            del context, _requests

    def _begin(
        self, handler: Handler[Request], kind: type[Request], message: bytes, call: Call
    ) -> Awaitable[bytes]:
        """Accept one message, or raise; its answer is to be awaited, and its room is then free again."""
        size = len(message)
        try:
            answer = handler(wire.parse(kind, message), call)
        except BaseException:
            self.door.release(size)
            raise
        return self._finish(answer, size)

    async def _finish(self, answer: Awaitable[Message], size: int) -> bytes:
        try:
            return (await answer).SerializeToString()
        finally:
            self.door.release(size)

    async def _converse(
        self, handler: Handler[Request], kind: type[Request], call: Call, context: Context
    ) -> None:
        """Read while few messages are unanswered; answer what was accepted, in order, whatever comes then."""
        unanswered = asyncio.Semaphore(MESSAGES_UNDER_WAY)
        answers: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue()
        under_way: set[asyncio.Future[bytes]] = set()

        def settled(answer: asyncio.Future[bytes]) -> None:
            under_way.discard(answer)
            if not answer.cancelled():
                answer.exception()  # nobody asks those that come after one that ended the call

        async def read() -> None:
            try:
                while (
                    await unanswered.acquire()
                    and (message := await self.door.receive(context, 0)) is not None
                ):
                    answer = asyncio.ensure_future(self._begin(handler, kind, message, call))
                    del message
                    under_way.add(answer)
                    answer.add_done_callback(settled)
                    answers.put_nowait(answer)
            finally:
                answers.put_nowait(None)

        async def write() -> None:
            while (answer := await answers.get()) is not None:
                await asyncio.wait({answer})  # else what cancels the call could cancel it before it began
                with GONE:
                    await context.write(answer.result())
                unanswered.release()

        reading = asyncio.create_task(read())
        self._reading.add(reading)
        try:
            await write()
            await self._over(reading)
        finally:
            self._reading.discard(reading)
            await _drop([reading])  # and the youngest answer begins: one that had not could clear nothing up
            await _drop([*under_way])

    async def _over(self, reading: asyncio.Task[None]) -> None:
        """Raise why nothing more is read, unless the caller was done."""
        try:
            await reading
        except asyncio.CancelledError:
            self.check_ready()  # `drain` ends the reading
            raise


def _deliberate(error: Exception, call: Call) -> PenultimateError:
    if isinstance(error, PenultimateError):
        return error
    log.exception("%s failed through our own fault (request %s)", call.method, call.request_id)
    return InternalError(
        f"an internal error ({type(error).__name__}); the server's log has more, under {call.request_id}"
    )


async def _drop(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel, and wait for the end of it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
