"""Threads for what blocks, with a bound on what waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from extractor.errors import Overloaded

T = TypeVar("T")


class Threads:
    """Runs what would hold up the event loop, from which alone it is used.

    Parameters
    ----------
    name : str
        Of the threads.
    count : int
        How many.
    most : int
        Pieces of work that may be under way or wait.
    """

    def __init__(self, name: str, count: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._most = most
        self._pending = 0

    async def run(self, work: Callable[[], T], over: Callable[[], object] = lambda: None) -> T:
        """What `work` returns; it is dropped when the caller leaves before it began.

        Parameters
        ----------
        work : callable
        over : callable
            Called on the event loop once the work is done, dropped or refused,
            also when its caller has left.

        Raises
        ------
        Overloaded
            When too much is pending.
        """
        if self._pending >= self._most:
            over()
            raise Overloaded(f"{self._pending} pieces of work on collections wait (at most {self._most})")
        self._pending += 1
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._pending -= 1
            over()

        future = self.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(end))
        return await asyncio.wrap_future(future)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done, whatever else waits."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Finish what was submitted; blocks meanwhile."""
        self._pool.shutdown()
