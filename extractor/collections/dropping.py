"""Removing a collection, whole."""

from __future__ import annotations

from extractor.collections.store import store_path
from extractor.errors import NotFound
from extractor.folders import remove_folder
from extractor.settings import DataFolder


def drop(data: DataFolder, name: str) -> None:
    """Remove a collection in one step: all of it is gone, or nothing is.

    Who has it open in another process can read on, and finds it gone when they
    open it again.

    Raises
    ------
    NotFound
        When there is none of that name.
    InvalidArgument
        When the folder cannot be written.
    """
    path = store_path(data, name)
    if not path.exists():
        raise NotFound(f"there is no collection {name!r}")
    remove_folder(path.parent)
