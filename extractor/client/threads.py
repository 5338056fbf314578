"""Work that blocks, several pieces at a time, answered in order and given up together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from extractor.client.packing import Window

T = TypeVar("T")


class Calls(Protocol):
    """How a call is made, and how long it is before the next try."""

    def run(self, method: Any, request: bytes, **how: Any) -> Any:
        """The method's answer; raises what gRPC raises."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait, unless there is no use in it any more."""
        ...


class Closing:
    """Whether a client is closed; whoever waits for the next try is woken by that."""

    def __init__(self) -> None:
        self.done = False
        self._changed = threading.Condition()

    def close(self) -> None:
        """From now on it is."""
        self.done = True
        self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait so long, unless it is or becomes closed, or there is enough of waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self.done or enough(), seconds)


class Here:
    """Calls of the caller's own thread, which is the shortest way; they end with their channel."""

    def __init__(self, closing: Closing) -> None:
        self.pause = closing.wait

    def run(self, method: Any, request: bytes, **how: Any) -> Any:
        """See `Calls`."""
        return method(request, **how)


class Abandonable:
    """Calls of several threads, which one more can give up all at once."""

    def __init__(self, closing: Closing) -> None:
        self._closing = closing
        self._over = False
        self._calls: set[Any] = set()
        self._lock = threading.Lock()

    def run(self, method: Any, request: bytes, **how: Any) -> Any:
        """See `Calls`; raises FutureCancelledError once they are given up."""
        call = method.future(request, **how)
        with self._lock:
            self._calls.add(call)
        try:
            if self._over:
                call.cancel()
            return call.result()
        finally:
            with self._lock:
                self._calls.discard(call)

    def pause(self, seconds: float) -> None:
        """See `Calls`."""
        self._closing.wait(seconds, lambda: self._over)

    def abandon(self) -> None:
        """Cancel what is under way, and whatever is begun after this."""
        self._over = True
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()
        self._closing.wake()


class Job(NamedTuple, Generic[T]):
    """Some of the work.

    Attributes
    ----------
    work : callable
        Makes calls, and returns the results.
    size : int
        Bytes that it holds in memory.
    last : bool
        Whether no other comes after it.
    """

    work: Callable[[Calls], list[T]]
    size: int
    last: bool


class Workers(Generic[T]):
    """Threads for jobs, of which only so many are under way; leaving the block gives up what is left."""

    def __init__(self, closing: Closing, limit: Window) -> None:
        self._limit = limit
        self._here = Here(closing)
        self._calls = Abandonable(closing)
        self._pool = ThreadPoolExecutor(limit.requests, thread_name_prefix="client")
        self._window: deque[tuple[Future[list[T]], int]] = deque()
        self._bytes = 0

    def __enter__(self) -> Workers[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.abandon()
        self._pool.shutdown(cancel_futures=True)

    def answers(self, jobs: Iterable[Job[T]]) -> Iterator[T]:
        """The jobs' results, in order; a job that is alone is done in this thread."""
        for job in jobs:
            if job.last and not self._window:
                yield from job.work(self._here)
                return
            self._window.append((self._pool.submit(job.work, self._calls), job.size))
            self._bytes += job.size
            while self._window and (
                self._limit.is_full(len(self._window), self._bytes) or self._window[0][0].done()
            ):
                yield from self._oldest()
        while self._window:
            yield from self._oldest()

    def _oldest(self) -> list[T]:
        future, size = self._window.popleft()
        self._bytes -= size
        return future.result()
