"""What a head was lately asked about: a bounded sample, kept across restarts.

A sample is small: of each image its distance, its class and its name, no
vector. It is kept in `heads/NAME/live/000N.json`, beside the version that it
is of, and goes with the head. It names what it was measured by, so that it is
never taken for that of another head which has come to the same place.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifiers.heads import Head
from classifiers.store.versions import head_path
from extractor.folders import publishing
from extractor.settings import DataFolder

SAMPLE = 1000
"""Images in a sample; more would make a test see what matters to nobody."""

FOLDER = "live"
FORMAT = 2


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

    def write(self, path: Path, of: str) -> None:
        """Put it on disk in one step, as the sample of the head with the digest `of`.

        Raises
        ------
        OSError
            When the place cannot be written.
        """
        sightings, seen = self.sample()
        rows = [(each.distance, each.place, each.digest.hex(), each.id) for each in sightings]
        stored = {"format": FORMAT, "head": of, "seen": seen, "images": rows}
        with publishing(path) as draft:
            draft.write_text(json.dumps(stored), encoding="utf-8")

    @classmethod
    def read(cls, path: Path, of: str) -> Live:
        """What `write` wrote of the same head; empty where that is not to be had: it fills again."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads(path.read_text(encoding="utf-8"))
            if (stored["format"], stored["head"]) == (FORMAT, of):
                return cls([_sighting(row) for row in stored["images"]], int(stored["seen"]))
        return cls()


def live_path(name: str, version: int, data: DataFolder) -> Path:
    """Where the sample of a version is kept."""
    return head_path(name, data) / FOLDER / f"{version:04}.json"


def digest_of(head: Head) -> str:
    """The SHA-256, in hex, of all that a sighting is measured by: what gives the distance and the class."""
    arrays = {**head.model.arrays(), **(head.rejection.arrays() if head.rejection else {})}
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _sighting(row: Sequence[object]) -> Sighting:
    distance, place, digest, name = row
    return Sighting(float(str(distance)), int(str(place)), bytes.fromhex(str(digest)), str(name))
