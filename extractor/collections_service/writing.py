"""The writes of one collection, one after the other; what waits together shares a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from extractor.collections import Collection, Item
from extractor.errors import InvalidArgument

COMMIT_ITEMS = 1024
"""Items of several requests in one commit, at most."""


class Runs(Protocol):
    """Does work on a collection, in a thread."""

    def __call__(self, work: Callable[[Collection], Any]) -> Awaitable[Any]: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class _Write:
    """What is to be done, and who is told of it.

    Attributes
    ----------
    work : callable
    items : sequence of Item
        For an addition that replaces what is there, which can be joined with others.
    """

    work: Callable[[Collection], Any]
    items: Sequence[Item] = ()
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """Takes writes in the order in which they are put, and does them in that order.

    A commit waits for the disk. Additions that come meanwhile are written
    together in the next one, so that many small requests cost few commits.

    Parameters
    ----------
    run : callable
        Does work on the collection, in a thread.
    """

    def __init__(self, run: Runs) -> None:
        self._run = run
        self._waiting: deque[_Write] = deque()
        self._writing: asyncio.Task[None] | None = None

    def add(self, items: Sequence[Item]) -> asyncio.Future[Any]:
        """Add items, in place of those of the same ids; done when they are on disk."""
        return self._put(_Write(lambda collection: collection.add(items), items))

    def change(self, work: Callable[[Collection], Any]) -> asyncio.Future[Any]:
        """Do any other change; gives what `work` returns."""
        return self._put(_Write(work))

    def _put(self, write: _Write) -> asyncio.Future[Any]:
        self._waiting.append(write)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return write.done

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._group())
        finally:
            self._writing = None

    def _group(self) -> list[_Write]:
        """What is written next, together: those at the front that only add, or one of another kind."""
        group = [self._waiting.popleft()]
        count = len(group[0].items)
        while count and self._waiting and self._waiting[0].items:
            count += len(self._waiting[0].items)
            if count > COMMIT_ITEMS:
                break
            group.append(self._waiting.popleft())
        return [write for write in group if not write.done.done()]  # whoever left wants nothing written

    async def _commit(self, group: list[_Write]) -> None:
        if len(group) < 2:
            for write in group:
                await self._do(write)
            return
        together = _Write(_add_all(group))
        await self._do(together)
        if isinstance(together.done.exception(), InvalidArgument):  # one of them is to blame
            for write in group:
                await self._do(write)
            return
        for write in group:
            _settle(write.done, together.done.exception(), None)

    async def _do(self, write: _Write) -> None:
        try:
            result = await self._run(write.work)
        except Exception as error:  # noqa: BLE001 - whoever waits for this write is told, and the next goes on
            _settle(write.done, error, None)
        else:
            _settle(write.done, None, result)


def _add_all(group: Sequence[_Write]) -> Callable[[Collection], Any]:
    items = [item for write in group for item in write.items]
    return lambda collection: collection.add(items)


def _settle(done: asyncio.Future[Any], error: BaseException | None, result: Any) -> None:
    if done.done():
        return
    if error:
        done.set_exception(error)
    else:
        done.set_result(result)
