"""Where a collection lies, and how it is removed."""

from __future__ import annotations

from pathlib import Path

from extractor.errors import NotFound
from extractor.folders import remove_folder
from extractor.settings import DataFolder, checked_name


def path_of(data: DataFolder, name: str) -> Path:
    """The collection's file; raises InvalidArgument for what is no name."""
    return data.collections / checked_name("collection", name) / "items.sqlite"


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
    path = path_of(data, name)
    if not path.exists():
        raise NotFound(f"there is no collection {name!r}")
    remove_folder(path.parent)
