"""The index on disk: segments in folders of their own, and a manifest that says which of them count.

Nothing here is the truth. Which items there are, and which were deleted, is
read from the store at each opening, so an index can be older than its store but
never say anything else. What does not fit, or is not what was written, is
passed over in one line of the log, made again, and saved again by the next upkeep.

    DATA/collections/NAME/index/
        manifest.json       last written; names the folders
        FIRST-LAST-TOKEN/   one segment: the numbers it spans, and what tells it from others of that span
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from extractor.collections.generations import Numbers, Part, Snapshot
from extractor.collections.store import Generation, Reader, Store
from extractor.errors import DamagedFile
from extractor.folders import publish_folder, publishing, refusals, sync_folder
from extractor.indexes.kinds import load, save

log = logging.getLogger(__name__)

_VERSION = 1
_MANIFEST = "manifest.json"
_WITNESSES = 16
_TRIES = 5
# The last four: whole, but laid out as this release does not know. RuntimeError is what FAISS raises.
_UNUSABLE = (OSError, DamagedFile, LookupError, TypeError, ValueError, RuntimeError)


class _Stale(Exception):
    """What was saved is of another state of the store; says why."""


class SavedPart(NamedTuple):
    """What the manifest says of one segment."""

    name: str
    kind: str
    recall: float | None
    items: int


class Manifest(NamedTuple):
    """Which segments count, and of which store.

    Attributes
    ----------
    lineage : str
        The store's.
    witnesses : list of (int, int)
        Numbers and what is the CRC-32 of their vectors: a store that was brought
        back by hand gives the same numbers to others.
    parts : list of SavedPart
        In the order of their numbers.
    """

    lineage: str
    witnesses: list[tuple[int, int]]
    parts: list[SavedPart]


class SavedIndex:
    """Where the index of a collection is saved.

    Parameters
    ----------
    store : Store
        Beside which it lies.

    Attributes
    ----------
    lost : bool
        Whether what was saved could not be used, and nothing has been made in its place yet.
    """

    def __init__(self, store: Store) -> None:
        self._folder = store.path.parent / "index"
        self._name = store.name
        self._dim = store.meta.dim
        self.lost = False

    def manifest(self) -> Manifest | None:
        """What is said of the segments, or None when there is nothing of use."""
        try:
            return _parsed((self._folder / _MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _UNUSABLE as error:
            self._passed_over("damaged", error)
            return None

    def damage(self) -> str:
        """What is wrong with the files, all of which are read; empty when they are as they were written."""
        try:
            for part in _parsed((self._folder / _MANIFEST).read_bytes()).parts:
                load(self._folder / part.name)
        except (FileNotFoundError, NotADirectoryError):
            return ""  # nothing is saved
        except _UNUSABLE as error:
            return str(error)
        return ""

    def load(self, reader: Reader) -> Snapshot:
        """The snapshot of what the segments hold of this moment; an empty one when nothing can be used."""
        for _ in range(_TRIES):
            manifest = self.manifest()
            if manifest is None:
                break
            try:
                return self._loaded(manifest, reader)
            except _Stale as reason:
                self._passed_over("of another state of the store", reason)
                break
            except _UNUSABLE as error:
                if self.manifest() == manifest:  # no other process has just saved
                    self._passed_over("damaged", error)
                    break
        return Snapshot.empty(self._dim)

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether the segments of a snapshot are just those that are saved."""
        manifest = self.manifest()
        names = [part.name for part in manifest.parts] if manifest else []
        return names == [part.name for part in snapshot.parts]

    def has(self, part: Part) -> bool:
        """Whether a part lies here; another process that saved its own has removed ours."""
        return bool(part.name) and (self._folder / part.name).is_dir()

    def keep(self, part: Part) -> Part:
        """Save a part's segment; the part that is given back lies there, and takes no memory of its own.

        It counts only after the next `commit`.

        Raises
        ------
        InvalidArgument
            When the disk is full or the place cannot be written.
        """
        name = f"{part.first}-{part.last}-{secrets.token_hex(4)}"
        publish_folder(self._folder / name, lambda draft: save(part.segment, draft))
        return replace(part, segment=load(self._folder / name), name=name)

    def commit(self, snapshot: Snapshot, reader: Reader) -> None:
        """Let the saved parts of a snapshot, which is of the reader's moment, be the index; remove others."""
        kept = [part for part in snapshot.parts if part.name]
        parts = [SavedPart(part.name, part.segment.kind, part.recall, len(part)) for part in kept]
        living = np.concatenate([np.empty(0, np.int64), *(part.living() for part in kept)])
        manifest = Manifest(reader.generation().lineage, _witnesses(reader, living), parts)
        with refusals(self._folder):
            with publishing(self._folder / _MANIFEST) as draft:
                draft.write_bytes(_formatted(manifest))
            sync_folder(self._folder)
        self._clear({part.name for part in parts})

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether we are the only one who saves here, until the block ends.

        Raises
        ------
        InvalidArgument
            When the place cannot be written.
        """
        with refusals(self._folder):
            self._folder.mkdir(exist_ok=True)
            lock = (self._folder / ".saving").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @property
    def writable(self) -> bool:
        """Whether anything can be saved here, as far as can be seen."""
        return os.access(self._folder if self._folder.exists() else self._folder.parent, os.W_OK)

    def _loaded(self, manifest: Manifest, reader: Reader) -> Snapshot:
        now = reader.generation()
        if manifest.lineage != now.lineage:
            raise _Stale("it was made of another file")
        parts = [
            Part(load(self._folder / part.name), recall=part.recall, name=part.name)
            for part in manifest.parts
        ]
        there = reader.numbers()
        _check_witnesses(manifest, reader, there)
        last = parts[-1].last if parts else 0
        parts = [part.only(there) for part in parts]
        if now.items < last or sum(map(len, parts)) != np.searchsorted(there, last, side="right"):
            raise _Stale("other items are there")
        read = Generation(last, now.removed, now.lineage)
        return Snapshot(read, tuple(parts), Snapshot.empty(self._dim).tail)

    def _clear(self, names: set[str]) -> None:
        """Remove all other folders: also the drafts, which are of processes that were killed."""
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path, ignore_errors=True)

    def _passed_over(self, state: str, reason: object) -> None:
        self.lost = True
        log.warning(
            "the saved index of the collection %r is %s (%s); it is made again from the store, and saved "
            "again in the background or by `penultimate index` or `collections reindex`",
            self._name,
            state,
            reason,
        )


def _witnesses(reader: Reader, numbers: Numbers) -> list[tuple[int, int]]:
    spread = np.linspace(0, len(numbers) - 1, min(_WITNESSES, len(numbers))).astype(np.int64)
    chosen = np.union1d(numbers[spread], numbers[-_WITNESSES:])
    return _sums(reader, chosen)


def _sums(reader: Reader, numbers: Numbers) -> list[tuple[int, int]]:
    vectors = reader.vectors(numbers)
    return [
        (number, zlib.crc32(row.tobytes())) for number, row in zip(numbers.tolist(), vectors, strict=True)
    ]


def _check_witnesses(manifest: Manifest, reader: Reader, there: Numbers) -> None:
    left = [witness for witness in manifest.witnesses if np.isin(witness[0], there, assume_unique=True)]
    if left != _sums(reader, np.array([number for number, _ in left], np.int64)):
        raise _Stale("its numbers have been given to others")


def _formatted(manifest: Manifest) -> bytes:
    text = json.dumps({"version": _VERSION, **manifest._asdict()}).encode()
    return b"%08x\n%s" % (zlib.crc32(text), text)


def _parsed(content: bytes) -> Manifest:
    checksum, _, text = content.partition(b"\n")
    if checksum != b"%08x" % zlib.crc32(text):
        raise DamagedFile(f"{_MANIFEST} is not what was written")
    said: dict[str, Any] = json.loads(text)
    if said["version"] != _VERSION:
        raise DamagedFile(f"{_MANIFEST} is of version {said['version']}, which this release does not know")
    witnesses = [(number, checksum) for number, checksum in said["witnesses"]]
    return Manifest(said["lineage"], witnesses, [SavedPart(*part) for part in said["parts"]])
