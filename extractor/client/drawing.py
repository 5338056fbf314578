"""What comes asynchronously, for what draws in a worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def drawn(items: Iterable[T] | AsyncIterable[T]) -> Iterable[T]:
    """The items to be gone through in a worker thread; those that come asynchronously come on this loop."""
    if isinstance(items, AsyncIterable):
        return _from(aiter(items), asyncio.get_running_loop())
    return items


def _from(items: AsyncIterator[T], loop: asyncio.AbstractEventLoop) -> Iterator[T]:
    while found := asyncio.run_coroutine_threadsafe(_next(items), loop).result():
        yield found[0]


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    """The next one, alone in a tuple; None at the end, which no error can tell in a thread."""
    async for item in items:
        return (item,)
    return None
