"""Files that were renamed or moved, known by their bytes: the item follows its file."""

from __future__ import annotations

from pathlib import Path

from extractor.collections.item import Entry
from extractor.collections.reader import Reader

MOST_COPIES = 16
"""Of a picture that more items are made of, nobody can say which has moved."""


def lost(reader: Reader, digest: bytes, path: str) -> Entry | None:
    """The item of these bytes that has lost its file, which is now at `path`.

    Only an item that is called after its file, as those of `add_files` are.
    Among several that have lost theirs it is the only one of the same name;
    when that does not tell either, there is none.
    """
    there = reader.of_digest(digest, MOST_COPIES + 1)
    if len(there) > MOST_COPIES:
        return None
    gone = [it for it in there if it.file and it.id == it.file.source and it.file.is_gone()]
    if len(gone) > 1:
        gone = [entry for entry in gone if Path(entry.id).name == Path(path).name]
    return gone[0] if len(gone) == 1 else None
