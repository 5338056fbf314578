"""The versions that answer, kept in memory and cheap to ask for again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple, TypeAlias

from classifiers.heads import Head
from classifiers.store.versions import SERVING, VERSIONS, head_path, load_head, serving_version
from extractor.settings import DataFolder

_Mark: TypeAlias = "tuple[int, int] | None"


class _Kept(NamedTuple):
    mark: _Mark
    version: int
    head: Head


class ServedHeads:
    """Gives the version of a head that answers now; one that was promoted is read at the next question.

    Asking again costs a look at the file system. Any number of threads may ask.

    Parameters
    ----------
    data : DataFolder

    Examples
    --------
    ::

        heads = ServedHeads(DataFolder.default())
        version, head = heads.serving("cells")
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def serving(self, name: str) -> tuple[int, Head]:
        """The version that answers, and the head.

        Raises
        ------
        NotFound
            When there is no such head, or it was deleted.
        DamagedFile
            When it is not what was written.
        """
        kept = self._kept.get(name)
        if kept is None or kept.mark != self._mark(name):
            with self._lock:
                kept = self._read(name)
        return kept.version, kept.head

    def is_ready(self, name: str) -> bool:
        """Whether `serving` has nothing to read: an event loop need not leave it to a thread.

        Raises
        ------
        InvalidArgument
            When no head can have the name.
        """
        kept = self._kept.get(name)
        return kept is not None and kept.mark == self._mark(name)

    def _read(self, name: str) -> _Kept:
        """Read it, unless another thread just did."""
        mark, kept = self._mark(name), self._kept.pop(name, None)
        if kept is None or kept.mark != mark:
            version = serving_version(name, self._data)
            kept = _Kept(mark, version, load_head(name, self._data, version=version))
        self._kept[name] = kept
        return kept

    def _mark(self, name: str) -> _Mark:
        """What is another after each change of which version answers."""
        path = head_path(name, self._data)
        return _mark(path / SERVING) or _mark(path / VERSIONS)


def _mark(path: Path) -> _Mark:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns
