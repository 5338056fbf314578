"""gRPC by hand: as much of HTTP/2 as it takes to send a message and to read the answer.

What gRPC's own client takes for a call comes off the cores that the server
has, and most of all where more calls come than can be answered.
"""

from __future__ import annotations

import asyncio
import re
import struct
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_CONTINUATION = 9
_TABLE_SIZE, _PUSH, _INITIAL_WINDOW = 1, 2, 4
_CANCEL = 8
DEADLINE_EXCEEDED = 4  # of gRPC's statuses
_PIECE = 16384  # no frame may be larger unless its receiver says so
_WINDOW = 65535  # until the receiver says otherwise
_OURS = 2**30  # what we take before we say that we take more

_STATUS = re.compile(rb"grpc-status(?:\x01(\d)|\x02(\d\d))")
"""A literal header: we allow the server no table of those it sent before."""


class Answer(NamedTuple):
    """How a call ended; no exception, for those cost more than all else of a refused call.

    Attributes
    ----------
    code : int
        gRPC's status, or -1 for none.
    body : bytes
        The message, when the status is 0.
    why : str
        Why there is no status.
    head : bytes
        The headers.
    """

    code: int
    body: bytes = b""
    why: str = ""
    head: bytes = b""

    def __str__(self) -> str:
        return f"gRPC status {self.code}: {self.why or _message(self.head)}"


@dataclass(slots=True, eq=False)
class _Stream:
    """One call: what is left to send, and what has come."""

    number: int
    left: memoryview
    window: int
    answer: asyncio.Future[Answer]
    head: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)


def request_head(authority: str, path: str, *headers: tuple[str, str]) -> bytes:
    """The headers of a call: POST (3) and http (6) from HTTP/2's static table, the rest as literals."""
    rest = (
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    return b"\x83\x86" + b"".join(_literal(*header) for header in (*rest, *headers))


def _literal(name: str, value: str) -> bytes:
    assert len(name) < 127 > len(value)
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it."""
    return struct.pack(">BI", 0, len(message)) + message


class Connection(asyncio.Protocol):
    """A connection to a gRPC server, for any number of calls at a time.

    Attributes
    ----------
    gone : str
        Why it takes no more calls; empty while it does.
    """

    def __init__(self) -> None:
        self._transport: Any = None
        self._received = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._window = self._initial = _WINDOW
        self._taken = 0
        self.gone = ""
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            _DATA: self._data,
            _HEADERS: self._headers,
            _RESET: self._reset,
            _SETTINGS: self._settings,
            _PING: self._ping,
            _GOAWAY: self._goaway,
            _WINDOW_UPDATE: self._window_update,
            _CONTINUATION: lambda *_: self._lose("its headers are in several frames"),
        }

    async def ask(self, head: bytes, body: bytes, seconds: float | None) -> Answer:
        """The answer to a call of one message.

        Parameters
        ----------
        head : bytes
            `request_head`.
        body : bytes
            The message, `framed`.
        seconds : float, optional
            After which the call ends, here and there.
        """
        if self.gone:
            return Answer(-1, why=self.gone)
        loop = asyncio.get_running_loop()
        stream = _Stream(self._next, memoryview(body), self._initial, loop.create_future())
        self._next += 2
        self._streams[stream.number] = stream
        if seconds is not None:
            head += _literal("grpc-timeout", f"{max(1, round(1000 * seconds))}m")
        self._write(_frame(_HEADERS, _END_HEADERS, stream.number, head), *self._sendable(stream))
        lapse = loop.call_later(seconds, self._give_up, stream) if seconds is not None else None
        try:
            return await stream.answer
        finally:
            if lapse:
                lapse.cancel()
            self._end(stream)

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def _end(self, stream: _Stream) -> None:
        """Forget a call; the server learns when it still waits for some of it."""
        ended = self._streams.pop(stream.number, None) is None
        if not ended or stream.left:
            self._write(_frame(_RESET, 0, stream.number, struct.pack(">I", _CANCEL)))

    def _give_up(self, stream: _Stream) -> None:
        _settle(stream, Answer(DEADLINE_EXCEEDED, why="no answer in time"))

    def _sendable(self, stream: _Stream) -> list[bytes | memoryview]:
        """The frames that the windows have room for."""
        parts: list[bytes | memoryview] = []
        while stream.left and (size := min(len(stream.left), _PIECE, stream.window, self._window)) > 0:
            piece, stream.left = stream.left[:size], stream.left[size:]
            stream.window -= size
            self._window -= size
            flags = 0 if stream.left else _END_STREAM
            parts += (_frame_head(size, _DATA, flags, stream.number), piece)
        return parts

    def _write(self, *parts: bytes | memoryview) -> None:
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    # What asyncio calls.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        settings = struct.pack(">HIHIHI", _TABLE_SIZE, 0, _PUSH, 0, _INITIAL_WINDOW, _OURS)
        more = struct.pack(">I", _OURS)
        self._write(_PREFACE, _frame(_SETTINGS, 0, 0, settings), _frame(_WINDOW_UPDATE, 0, 0, more))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        while len(received) >= at + 9:
            high, low, kind, flags, number = struct.unpack_from(">HBBBI", received, at)
            end = at + 9 + (high << 8 | low)
            if len(received) < end:
                break
            if handler := self._handlers.get(kind):
                handler(flags, number, bytes(received[at + 9 : end]))
            at = end
        del received[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection is lost ({exc})")

    # What the server sends.
    def _data(self, flags: int, number: int, payload: bytes) -> None:
        if flags & _PADDED:
            self._lose("it pads its frames")
            return
        self._taken += len(payload)
        if self._taken > _OURS // 2:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        if stream := self._streams.get(number):
            stream.body += payload

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (_PADDED | _PRIORITY) or not flags & _END_HEADERS:
            self._lose("its headers are not plain")
        elif stream := self._streams.get(number):
            stream.head += payload
            if flags & _END_STREAM:
                del self._streams[number]
                _settle(stream, _answer(stream))

    def _reset(self, _flags: int, number: int, payload: bytes) -> None:
        if stream := self._streams.pop(number, None):
            _settle(stream, Answer(-1, why=f"reset by the server ({int.from_bytes(payload)})"))

    def _settings(self, flags: int, _number: int, payload: bytes) -> None:
        if flags & _ACK:
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._initial
                self._initial = value
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        self._go_on()

    def _ping(self, flags: int, _number: int, payload: bytes) -> None:
        if not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))

    def _goaway(self, _flags: int, _number: int, payload: bytes) -> None:
        """Calls up to the last that it names are still answered."""
        self.gone = f"the server goes away: {payload[8:].decode(errors='replace')}"
        last = int.from_bytes(payload[:4])
        for number in [number for number in self._streams if number > last]:
            _settle(self._streams.pop(number), Answer(-1, why=self.gone))

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        more = int.from_bytes(payload)
        if number == 0:
            self._window += more
            self._go_on()
        elif stream := self._streams.get(number):
            stream.window += more
            self._write(*self._sendable(stream))

    def _go_on(self) -> None:
        for stream in self._streams.values():
            if stream.left:
                self._write(*self._sendable(stream))

    def _lose(self, why: str) -> None:
        """End all calls, and take no more."""
        self.gone = self.gone or why
        for stream in self._streams.values():
            _settle(stream, Answer(-1, why=why))
        self._streams.clear()
        self.close()


def _frame_head(size: int, kind: int, flags: int, number: int) -> bytes:
    return struct.pack(">HBBBI", size >> 8, size & 255, kind, flags, number)


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return _frame_head(len(payload), kind, flags, number) + payload


def _settle(stream: _Stream, answer: Answer) -> None:
    if not stream.answer.done():
        stream.answer.set_result(answer)


def _answer(stream: _Stream) -> Answer:
    found = _STATUS.search(stream.head)
    code = int(found[1] or found[2]) if found else -1
    if code == 0 and stream.body[:5] != struct.pack(">BI", 0, max(0, len(stream.body) - 5)):
        return Answer(-1, why=f"an answer of {len(stream.body)} bytes is no message")
    return Answer(code, bytes(stream.body[5:]), head=bytes(stream.head))


def _message(head: bytes) -> str:
    """The literal `grpc-message`, without its length before it."""
    _, _, rest = head.partition(b"grpc-message")
    if not rest:
        return ""
    size, begin = rest[0], 1
    if size == 127:  # longer ones go on, seven bits at a time
        more = next(place for place in range(1, len(rest)) if rest[place] < 128)
        size += sum((rest[place] & 127) << 7 * (place - 1) for place in range(1, more + 1))
        begin = more + 1
    return urllib.parse.unquote(rest[begin : begin + size].decode("ascii", "replace"))
