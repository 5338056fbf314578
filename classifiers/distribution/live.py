"""What a head was lately asked about: a bounded sample, kept across restarts.

A sample is small: of each image its distance, its class and its name, no
vector. It is kept in `heads/NAME/live/000N.json`, beside the version that it
is of, and goes with the head.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from classifiers.store.versions import head_path
from extractor.folders import publishing
from extractor.settings import DataFolder

SAMPLE = 1000
"""Images in a sample; more would make a test see what matters to nobody."""

FOLDER = "live"
FORMAT = 1


class Sighting(NamedTuple):
    """One image: its distance to the nearest class, its most probable class by number, digest and id."""

    distance: float
    place: int
    digest: bytes
    id: str


class Live:
    """The last images that a version of a head was asked about, no image twice; any threads may use it.

    Parameters
    ----------
    sightings : iterable of Sighting
        The oldest first.
    seen : int
        Images that were ever noted.
    """

    def __init__(self, sightings: Iterable[Sighting] = (), seen: int = 0) -> None:
        self._sightings = deque(sightings, maxlen=SAMPLE)
        self._digests = {each.digest for each in self._sightings}
        self._lock = threading.Lock()
        self.seen = seen

    def note(self, sightings: Iterable[Sighting]) -> None:
        """Take images in, each in place of the oldest; those that are in the sample change nothing."""
        with self._lock:
            for each in sightings:
                self.seen += 1
                if each.digest and each.digest in self._digests:
                    continue
                if len(self._sightings) == SAMPLE:
                    self._digests.discard(self._sightings[0].digest)
                self._sightings.append(each)
                self._digests.add(each.digest)

    def sample(self) -> tuple[list[Sighting], int]:
        """The images, the oldest first, and how many were ever noted."""
        with self._lock:
            return list(self._sightings), self.seen

    def write(self, path: Path) -> None:
        """Put it on disk in one step.

        Raises
        ------
        OSError
            When the place cannot be written.
        """
        sightings, seen = self.sample()
        rows = [(each.distance, each.place, each.digest.hex(), each.id) for each in sightings]
        with publishing(path) as draft:
            draft.write_text(json.dumps({"format": FORMAT, "seen": seen, "images": rows}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Live:
        """What `write` wrote; empty where that is not to be had: it is a sample, and fills again."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["format"] == FORMAT:
                return cls([_sighting(row) for row in stored["images"]], int(stored["seen"]))
        return cls()


def live_path(name: str, version: int, data: DataFolder) -> Path:
    """Where the sample of a version is kept."""
    return head_path(name, data) / FOLDER / f"{version:04}.json"


def _sighting(row: Sequence[object]) -> Sighting:
    distance, place, digest, name = row
    return Sighting(float(str(distance)), int(str(place)), bytes.fromhex(str(digest)), str(name))
