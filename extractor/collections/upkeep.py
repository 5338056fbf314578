"""Building segments behind the searches, and saving them.

Nothing waits for it: it works on a snapshot of its own, and puts what it has
built into the newest one. It begins a moment after it becomes due, so that a
command that searches once and ends has not begun to build.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from dataclasses import replace
from functools import partial

from extractor.collections.choosing import Choosing
from extractor.collections.compaction import Living, Span, due, everything, stored_units
from extractor.collections.generations import Part, Snapshot, Tail
from extractor.collections.recall import recall
from extractor.collections.saved import SavedIndex
from extractor.collections.searching import EXACT
from extractor.collections.snapshots import Snapshots
from extractor.collections.store import Store
from extractor.errors import PenultimateError, Unavailable
from extractor.indexes.kinds import build

log = logging.getLogger(__name__)

DELAY = 1.0
"""Seconds between being due and the begin of the work."""

REST = 60.0
"""Seconds after which it is tried again when it failed, as on a full disk."""

_ROUNDS = 8
_SAMPLE = 64
_PATIENCE = 30.0  # for what cannot be stopped in the middle, such as one block


class _Stopped(Unavailable):
    """The collection is being closed."""


class Upkeep:
    """Keeps the segments of a collection as they should be, in memory and on disk.

    Parameters
    ----------
    store : Store
    snapshots : Snapshots
    saved : SavedIndex
    choosing : Choosing
    """

    def __init__(self, store: Store, snapshots: Snapshots, saved: SavedIndex, choosing: Choosing) -> None:
        self._store, self._snapshots, self._saved, self._choosing = store, snapshots, saved, choosing
        self._stop = threading.Event()
        self._working, self._starting = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread] = []
        self._not_before = 0.0
        # Also at the interpreter's end, when no thread may be in the middle of FAISS.
        self._end = weakref.finalize(self, _end, self._stop, self._threads)

    def wake(self, snapshot: Snapshot) -> None:
        """Begin to work in the background, soon, when that is due; cheap when it is not."""
        if self._stop.is_set() or time.monotonic() < self._not_before or not self._needed(snapshot):
            return
        with self._starting:
            if not any(thread.is_alive() for thread in self._threads):
                thread = threading.Thread(target=self._run, name=f"upkeep-{self._store.name}", daemon=True)
                self._threads[:] = [thread]
                thread.start()

    def work(self) -> None:
        """Do all that is due, now.

        Raises
        ------
        InvalidArgument
            When the index cannot be saved; it is built all the same.
        DamagedFile
            When the store holds a vector that nobody wrote.
        Unavailable
            When the collection is closed meanwhile.
        """
        with self._working:
            for _ in range(_ROUNDS):
                snapshot = self._snapshot()
                span = self._due(snapshot)
                if span is None:
                    break
                self._rebuild(snapshot, span)
            self._save()

    def rebuild(self) -> None:
        """Make the whole index anew, now; see `work`."""
        with self._working:
            snapshot = self._snapshot()
            if span := everything(snapshot):
                self._rebuild(snapshot, span)
            self._save()

    def close(self) -> None:
        """Stop, and wait until nothing is done any more."""
        self._end()

    def _run(self) -> None:
        # Of no lower priority: what it holds for a moment, such as the interpreter, searches wait for.
        if self._stop.wait(DELAY):
            return
        try:
            self.work()
        except _Stopped:
            return
        except (PenultimateError, OSError, MemoryError, RuntimeError) as error:
            self._not_before = time.monotonic() + REST
            log.warning(
                "the index of the collection %r could not be brought up to date: %s", self._store.name, error
            )

    def _needed(self, snapshot: Snapshot) -> bool:
        unsaved = any(not part.name for part in snapshot.parts)
        return (unsaved and self._saved.writable) or self._due(snapshot) is not None

    def _due(self, snapshot: Snapshot) -> Span | None:
        if self._saved.lost and self._saved.writable:  # else it would be passed over at every opening
            return everything(snapshot)
        return due(snapshot, self._choosing.kind)

    def _snapshot(self) -> Snapshot:
        with self._snapshots.reading() as (reader, snapshot):
            self._choosing.refresh(reader)
            return snapshot

    def _rebuild(self, snapshot: Snapshot, span: Span) -> None:
        living = Living(snapshot, span, self._store, self._check)
        made = self._built(living, len(snapshot)) if len(living) else None
        self._snapshots.swap(span.low, span.high, made)
        self._saved.lost = False

    def _built(self, living: Living, total: int) -> Part:
        begun = time.monotonic()
        segment = build(self._choosing.kind(total), self._store.meta.dim, living, len(living))
        part = self._measured(Part(segment))
        log.info(
            "collection %r: %s; %s items built as %s in %.1f s, recall@10 %.3f",
            self._store.name,
            self._choosing.choice(total).reason,
            f"{len(living):,}",
            part.segment.kind,
            time.monotonic() - begun,
            part.recall,
        )
        return part

    def _measured(self, part: Part) -> Part:
        """With its recall: the segment's own, of vectors that taught it nothing, where it is not exact."""
        if part.segment.kind not in EXACT:
            return replace(part, recall=part.segment.recall)
        now, span = self._snapshot(), Span(part.first, part.last)
        alive = part.only(now.within(*span))  # what has been deleted since cannot be compared any more
        alone = replace(now, parts=(alive,), tail=Tail.empty(self._store.meta.dim))
        living = Living(alone, span, self._store, self._check)
        read = partial(stored_units, self._store)
        return replace(part, recall=recall(alive, living.sample(_SAMPLE), living, read))

    def _save(self) -> None:
        """Save what is not saved yet, and let the folder hold just that."""
        if not self._saved.writable or self._saved.holds(self._snapshot()):
            return
        with self._saved.claimed() as mine:
            if not mine:  # another process saves: what it makes of the store is as good
                self._not_before = time.monotonic() + REST
                return
            for part in self._snapshot().parts:
                if not self._saved.has(part):
                    self._keep(part)
            with self._snapshots.reading() as (reader, snapshot):
                self._saved.commit(snapshot, reader)

    def _keep(self, part: Part) -> None:
        self._check()
        measured = self._measured(part) if part.recall is None else part
        self._snapshots.swap(part.first, part.last, self._saved.keep(measured))

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped(f"the collection {self._store.name!r} is being closed: its index is left as it is")


def _end(stop: threading.Event, threads: list[threading.Thread]) -> None:
    stop.set()
    for thread in threads:
        if thread is not threading.current_thread():  # which lets go of a collection as the last
            thread.join(_PATIENCE)
