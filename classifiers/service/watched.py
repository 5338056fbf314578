"""What heads are asked about while they are served: samples kept in memory, and on disk now and then."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from classifiers.distribution.drift import drift_of
from classifiers.distribution.live import Live, Sighting, digest_of, live_path
from classifiers.service.roster import Answering
from extractor.heads_wire.values import Drift
from extractor.settings import DataFolder

log = logging.getLogger(__name__)

PAUSE = 10.0
"""Seconds between two writes; what came since is lost when the process is killed."""


@dataclass(slots=True, eq=False)
class _Watch:
    """A head, its digest, its sample, and how many images that had noted when it was last on disk."""

    answering: Answering
    digest: str
    live: Live
    written: int


class Watched:
    """The samples of the versions that answer, which any threads may use.

    Parameters
    ----------
    data : DataFolder
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._watches: dict[str, _Watch] = {}
        self._lock = threading.Lock()
        self._said = False

    def note(self, answering: Answering, sightings: Iterable[Sighting]) -> None:
        """Take note of what a head was asked about."""
        if answering.head.rejection:
            self._live(answering).note(sightings)

    def drift(self, answering: Answering) -> Drift:
        """How far it has moved."""
        live = self._live(answering) if answering.head.rejection else Live()
        return drift_of(answering.head, answering.version, live)

    def drifts(self) -> list[Drift]:
        """Of the heads that were asked since the start."""
        watches = list(self._watches.values())
        return [drift_of(each.answering.head, each.answering.version, each.live) for each in watches]

    async def keep(self) -> None:
        """Write now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(PAUSE)
            await asyncio.to_thread(self.write)

    def write(self) -> None:
        """Put on disk what has changed; where nothing can be written, it stays in memory."""
        for watch in list(self._watches.values()):
            path = live_path(watch.answering.name, watch.answering.version, self._data)
            seen = watch.live.seen
            if not path.parents[1].is_dir():  # a deleted head does not come back
                self._watches.pop(watch.answering.name, None)
                continue
            if seen == watch.written:
                continue
            try:
                watch.live.write(path, watch.digest)
                watch.written = seen
            except OSError as error:
                self._say(error)

    def _live(self, answering: Answering) -> Live:
        """Its sample, in place of the one of another version."""
        watch = self._watches.get(answering.name)
        if watch is None or watch.answering is not answering:
            with self._lock:
                watch = self._open(answering)
        return watch.live

    def _open(self, answering: Answering) -> _Watch:
        watch = self._watches.get(answering.name)
        if watch is None or watch.answering is not answering:
            digest = digest_of(answering.head)
            live = Live.read(live_path(answering.name, answering.version, self._data), digest)
            watch = self._watches[answering.name] = _Watch(answering, digest, live, live.seen)
        return watch

    def _say(self, error: OSError) -> None:
        if not self._said:
            log.warning("what heads are asked about is not kept: %s", error)
        self._said = True
