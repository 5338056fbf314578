"""One call of one method, and those who watch calls."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import grpc

from extractor import wire
from extractor.results import Result

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task
    return task


@dataclass(slots=True, eq=False)
class Call:
    """One call of one method.

    Attributes
    ----------
    method : str
        Its full name, such as `penultimate.v1.Extractor/Embed`.
    peer : str
        Who calls, as gRPC names it.
    request_id : str
        The caller's, or a new one.
    metadata : mapping
        The call's headers that are text.
    deadline : float
        Until when its caller waits, by `time.monotonic`; infinite when it does not say.
    task : asyncio.Task
        What answers it; ends when gRPC has sent the answer.
    begun : float
        When, by `time.monotonic`.
    items : int
        Images or digests that were accepted so far.
    cached, failed : int
        Images that were remembered, and that could not be embedded, so far.
    watchers : sequence of Observer
        Who is told of its images.
    """

    method: str
    peer: str
    request_id: str
    metadata: Mapping[str, str]
    deadline: float
    task: asyncio.Task[Any] = field(default_factory=_current_task)
    begun: float = field(default_factory=time.monotonic)
    items: int = 0
    cached: int = 0
    failed: int = 0
    watchers: Sequence[Observer] = ()

    def answered(self, results: Sequence[Result]) -> None:
        """Count what became of some images, and tell those who watch."""
        self.cached += sum(result.cached for result in results)
        self.failed += sum(not result.ok for result in results)
        for watcher in self.watchers:
            watcher.answered(self, results)


class Observer(Protocol):
    """Watches calls, all on the event loop's thread."""

    def begun(self, call: Call) -> None:
        """A call has come; nothing of it has been received."""
        ...

    def answered(self, call: Call, results: Sequence[Result]) -> None:
        """Images of the call are about to be answered."""
        ...

    def ended(self, call: Call, code: grpc.StatusCode, why: str) -> None:
        """The call is over; `why` is empty when it went well."""
        ...


def call_of(method: str, context: Context, watchers: Sequence[Observer]) -> Call:
    """The call that gRPC has received; to be asked for in the task that answers it."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    said = metadata.get(wire.REQUEST_ID, "")
    request_id = said if _REQUEST_ID.fullmatch(said) else f"{random.getrandbits(64):016x}"
    left = context.time_remaining()
    deadline = math.inf if left is None else time.monotonic() + left
    return Call(method, context.peer(), request_id, metadata, deadline, watchers=watchers)


class _Gone:
    """Ends a call as one whose caller has gone where gRPC cannot send to it any more.

    A class, since every refusal and every answer of a stream passes it: a
    generator's context takes five times as long.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, grpc.aio.InternalError):
            raise asyncio.CancelledError from None


GONE = _Gone()
