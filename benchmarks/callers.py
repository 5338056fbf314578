"""One image to a server, its vector back: as lean as asyncio allows, so that the load costs little.

Requests are packed once, before anything is measured. A call ends with its
deadline, and its connection or stream with it, as a real caller's would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import grpc

from benchmarks.http2 import DEADLINE_EXCEEDED, Connection, framed, request_head


class Target(NamedTuple):
    """Where images go, and how."""

    protocol: Literal["penultimate", "grpc", "http"]
    address: str
    path: str


class Refused(Exception):
    """The server said at once that it will not."""


class Failed(Exception):
    """Anything else but an answer."""


class Caller(Protocol):
    """Sends photos by number."""

    async def call(self, number: int, seconds: float | None) -> bytes:
        """The vector of a photo; raises TimeoutError, Refused or Failed."""

    async def close(self) -> None: ...


def caller(target: Target, photos: Sequence[bytes], connections: int) -> Caller:
    if target.protocol == "http":
        return HttpCaller(target, photos)
    return GrpcCaller(target, photos, connections)


class GrpcCaller:
    """Our service or a bare one, on a number of connections in turns."""

    def __init__(self, target: Target, photos: Sequence[bytes], connections: int) -> None:
        self._target = target
        self._ours = target.protocol == "penultimate"
        messages = [_packed(photo) for photo in photos] if self._ours else photos
        self._requests = [(self._head(len(message)), framed(message)) for message in messages]
        self._connections: list[asyncio.Task[Connection] | None] = [None] * connections

    def _head(self, size: int) -> bytes:
        said = [("penultimate-request-bytes", str(size))] if self._ours else []
        return request_head(self._target.address, self._target.path, *said)

    async def call(self, number: int, seconds: float | None) -> bytes:
        head, body = self._requests[number % len(self._requests)]
        connection = await self._connected(number % len(self._connections))
        answer = await connection.ask(head, body, seconds)
        if answer.code == 0:
            return _vector(answer.body) if self._ours else answer.body
        if answer.code == DEADLINE_EXCEEDED:  # the server's clock may be the first to say so
            raise TimeoutError
        raise (Refused if answer.code == _FULL else Failed)(answer)

    async def _connected(self, place: int) -> Connection:
        """One connection for all who come meanwhile; another when it is gone."""
        connecting = self._connections[place]
        if connecting is None or (connecting.done() and (connecting.exception() or connecting.result().gone)):
            connecting = self._connections[place] = asyncio.create_task(self._connect())
        if connecting.done():
            return connecting.result()
        try:
            return await asyncio.shield(connecting)
        except OSError as failure:
            raise Failed(str(failure)) from failure

    async def _connect(self) -> Connection:
        host, port = self._target.address.split(":")
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, host, int(port))
        return connection

    async def close(self) -> None:
        for connecting in self._connections:
            if connecting and connecting.done() and not connecting.exception():
                connecting.result().close()


_FULL: int = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


def _packed(photo: bytes) -> bytes:
    from extractor._pb.penultimate.v1 import penultimate_pb2 as pb

    return pb.EmbedRequest(images=[photo]).SerializeToString()


def _vector(answer: bytes) -> bytes:
    from extractor._pb.penultimate.v1 import penultimate_pb2 as pb

    (result,) = pb.EmbedResponse.FromString(answer).results
    if not result.embedding:  # an image whose turn came too late has an error of its own
        late = "deadline" in result.error.reason
        raise TimeoutError if late else Failed(result.error.reason)
    return result.embedding


class HttpCaller:
    """HTTP/1.1: a connection for each request under way, kept for the next one."""

    def __init__(self, target: Target, photos: Sequence[bytes]) -> None:
        self._host, port = target.address.split(":")
        self._port = int(port)
        self._requests = [_post(target, photo) for photo in photos]
        self._idle: list[_HttpConnection] = []

    async def call(self, number: int, seconds: float | None) -> bytes:
        connection = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connected()
                status, body = await connection.ask(self._requests[number % len(self._requests)])
        except OSError as failure:
            if connection:
                connection.abort()
            if isinstance(failure, TimeoutError):
                raise
            raise Failed(str(failure)) from failure
        self._idle.append(connection)
        if status != 200:
            raise (Refused if status in (429, 503) else Failed)(f"HTTP {status}: {body[:100]!r}")
        return body

    async def close(self) -> None:
        for connection in self._idle:
            connection.abort()

    async def _connected(self) -> _HttpConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_HttpConnection, self._host, self._port)
        return connection


def _post(target: Target, photo: bytes) -> bytes:
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.address}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(photo)}\r\n\r\n"
    )
    return head.encode() + photo


class _HttpConnection(asyncio.Protocol):
    """Asks one thing at a time; understands answers that say how long they are."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = bytearray()
        self.alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._received.clear()
        self._transport.write(request)
        return await self._answer

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or not self._answer or self._answer.done():
            return
        lines = bytes(head).lower().split(b"\r\n")
        fields = {name: value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if len(body) >= int(fields[b"content-length"]):
            self.alive = fields.get(b"connection") != b"close"
            self._answer.set_result((int(head.split(None, 2)[1]), bytes(body)))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.alive = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server closed the connection"))
