"""The collections that are open: each once, shared by all calls, and seen when another process removes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from extractor.collections import Collection
from extractor.collections.collection import names
from extractor.collections.dropping import drop
from extractor.collections.pictures import Picture, look_at
from extractor.collections.store import store_path
from extractor.collections_service.threads import Threads
from extractor.collections_service.writing import Writer
from extractor.errors import Unavailable
from extractor.settings import DataFolder, Limits, cores

T = TypeVar("T")

WAITING = 4096
"""Readings that may be under way or wait, and as many writes."""

WRITERS = 4
"""Collections that are written at once; what they wait for is the disk."""

MOST_OPEN = 32
"""Collections that stay open while nobody uses them: each takes up to twenty files, and its index memory."""


class Identity(NamedTuple):
    """What tells a file from another that has taken its place."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Identity | None:
        """The file's that is there now, if any is."""
        try:
            state = path.stat()
        except OSError:
            return None
        return cls(state.st_dev, state.st_ino)


class Volume:
    """An open collection.

    It is closed when it has been retired and neither a call nor a thread uses it any more.

    Parameters
    ----------
    collection : Collection
    identity : tuple
        Of its file, from before it was opened.
    reading, writing : Threads

    Attributes
    ----------
    writer : Writer
    users : int
        Calls, and pieces of their work in threads.
    retired : bool
        Whether it shall not be used any more.
    closed : Future
        Done when it is closed.
    """

    def __init__(
        self, collection: Collection, identity: Identity | None, reading: Threads, writing: Threads
    ) -> None:
        self.collection = collection
        self.identity = identity
        self.writer = Writer(self._write)
        self._reading, self._writing = reading, writing
        self._loop = asyncio.get_running_loop()
        self.users = 0
        self.retired = False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    async def read(self, work: Callable[[Collection], T]) -> T:
        """What `work` gives, in a thread.

        Raises
        ------
        Overloaded
            When too many wait.
        Unavailable
            When the collection has been removed or replaced since the call began.
        """
        return await self._use(self._reading, work)

    async def look_at(self, images: Sequence[bytes], limits: Limits) -> list[Picture]:
        """Size, format and thumbnail of each image, as this collection keeps them; nothing of no image."""
        side = self.collection.thumbnails
        work = [self._reading.run(partial(look_at, image, side, limits)) for image in images]
        return await asyncio.gather(*work)

    async def prepare(self, check: Callable[[int], None]) -> None:
        """Have what shall be written checked, for vectors of this width, in a thread: it may be much."""
        await self._reading.run(partial(check, self.collection.dim))

    async def _write(self, work: Callable[[Collection], Any]) -> Any:
        return await self._use(self._writing, work)

    async def _use(self, threads: Threads, work: Callable[[Collection], T]) -> T:
        if self.retired:
            raise Unavailable(f"the collection {self.collection.name!r} was removed or replaced meanwhile")
        self.enter()
        return await threads.run(lambda: work(self.collection), self.leave)

    def enter(self) -> None:
        """One more uses it, until `leave`."""
        self.users += 1

    def leave(self) -> None:
        """One less uses it."""
        self.users -= 1
        self._close_when_unused()

    def retire(self) -> None:
        """Close it once those who use it are done."""
        if not self.retired:
            self.retired = True
            self._close_when_unused()

    def _close_when_unused(self) -> None:
        if self.retired and not self.users:
            closing = self._writing.submit(self.collection.close)
            closing.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self.closed.set_result, None))


class Shelf:
    """Opens collections when they are asked for, and keeps those open that were asked for last.

    Parameters
    ----------
    data : DataFolder
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._reading = Threads("collections-read", max(4, cores()), WAITING)
        self._writing = Threads("collections-write", WRITERS, WAITING)
        self._volumes: dict[str, Volume] = {}
        self._opening: dict[str, asyncio.Task[Volume]] = {}
        self._retired: set[Volume] = set()

    @asynccontextmanager
    async def lent(self, name: str) -> AsyncIterator[Volume]:
        """The collection of that name, as it is on disk now; it is not closed before the block ends.

        Raises
        ------
        NotFound, DamagedFile, InvalidArgument
            As `Collection.open`.
        """
        volume = await self._volume(name)
        while volume.retired:  # since it was opened, while others waited for it as well
            volume = await self._volume(name)
        volume.enter()
        try:
            yield volume
        finally:
            volume.leave()
            self._close_some()

    async def _volume(self, name: str) -> Volume:
        path = store_path(self._data, name)
        volume = self._volumes.get(name)
        if volume and volume.identity == Identity.of(path):
            self._volumes[name] = self._volumes.pop(name)  # the last is the one that was asked for last
            return volume
        if name not in self._opening:
            self._opening[name] = asyncio.create_task(self._open(name))
            self._opening[name].add_done_callback(lambda task: self._opened(name, task))
        return await asyncio.shield(self._opening[name])

    async def create(self, make: Callable[[DataFolder], Collection]) -> None:
        """Have a collection made, which `volume` then finds."""
        (await self._reading.run(lambda: make(self._data))).close()

    async def drop(self, name: str) -> None:
        """Remove a collection with all that it holds; raises NotFound when there is none of that name."""
        await self._writing.run(lambda: drop(self._data, name))
        self._retire(name)

    async def names(self) -> list[str]:
        """The collections there are, in order."""
        return await self._reading.run(lambda: names(self._data))

    async def close(self) -> None:
        """Close all of them, when what was begun is done."""
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for name in list(self._volumes):
            self._retire(name)
        await asyncio.gather(*(volume.closed for volume in self._retired))
        for threads in (self._reading, self._writing):
            await asyncio.to_thread(threads.close)

    async def _open(self, name: str) -> Volume:
        self._retire(name)
        identity = Identity.of(store_path(self._data, name))
        collection = await self._reading.run(lambda: Collection.open(self._data, name))
        volume = Volume(collection, identity, self._reading, self._writing)
        self._volumes[name] = volume
        return volume

    def _opened(self, name: str, task: asyncio.Task[Volume]) -> None:
        del self._opening[name]
        if not task.cancelled():
            task.exception()  # all who waited may have left: nobody else would look at it

    def _close_some(self) -> None:
        """Close those that were not asked for the longest, of more than are kept open."""
        unused = [name for name, volume in self._volumes.items() if not volume.users]
        for name in unused[: max(0, len(self._volumes) - MOST_OPEN)]:
            self._retire(name)

    def _retire(self, name: str) -> None:
        if volume := self._volumes.pop(name, None):
            self._retired.add(volume)
            volume.closed.add_done_callback(lambda _: self._retired.discard(volume))
            volume.retire()
