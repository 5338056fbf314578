"""Taking items out of a collection whose files are gone."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from extractor.collections.collection import Collection
from extractor.collections.filters import Filter

_BATCH = 1000


def prune(collection: Collection, paths: Iterable[str]) -> int:
    """Delete the items whose file lay under one of `paths` and is there no more.

    A path that is not there itself is passed over: a disk that is not mounted
    must not empty a collection. So is a file that cannot be looked at.

    Parameters
    ----------
    collection : Collection
    paths : iterable of str
        Folders, to their depth, and globs.

    Returns
    -------
    int
        How many there were; committed a thousand at a time.
    """
    found = 0
    for path in paths:
        gone = _gone(collection, path)
        while batch := list(islice(gone, _BATCH)):
            found += collection.delete(batch)
    return found


def _gone(collection: Collection, path: str) -> Iterator[str]:
    """The ids of items of which the file was there."""
    place, pattern = _place(path)
    if not place.is_dir():
        return
    for item in collection.items(_below(place)):
        if item.file and fnmatch.fnmatchcase(item.file.source, pattern) and item.file.is_gone():
            yield item.id


def _place(path: str) -> tuple[Path, str]:
    """The folder that a path is about, and what the names of its files match."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - as the files' own: without `..`, and links as they are
    if whole.is_dir() or not glob.has_magic(path):
        return whole, "*"
    folder = whole.parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    return folder, str(whole)


def _below(folder: Path) -> Filter:
    """The items whose source begins with the folder; `0` comes next after `/`."""
    begin = str(folder).rstrip("/")
    return Filter(begin, "source >= ? AND source < ?", (f"{begin}/", f"{begin}0"))
