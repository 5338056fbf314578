"""Collections: named sets of items (id, digest, vector, label, metadata), all of one fingerprint.

The store (SQLite) is the truth; the index is derived from it and never
answers for anything that is not committed.
"""

from __future__ import annotations

from extractor.collections.collection import Collection, Match
from extractor.collections.files import Filed, add_files
from extractor.collections.filters import Filter
from extractor.collections.info import IndexInfo, Info
from extractor.collections.item import KEEP, Entry, FileStamp, Item

__all__ = [
    "KEEP",
    "Collection",
    "Entry",
    "FileStamp",
    "Filed",
    "Filter",
    "IndexInfo",
    "Info",
    "Item",
    "Match",
    "add_files",
]
