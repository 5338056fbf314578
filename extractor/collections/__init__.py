"""Collections: named sets of items (id, digest, vector), all of one fingerprint.

The store (SQLite) is the truth; the index is derived from it and never
answers for anything that is not committed.
"""

from __future__ import annotations

from extractor.collections.collection import Collection, Match
from extractor.collections.files import Filed, add_files
from extractor.collections.item import FileStamp, Item

__all__ = ["Collection", "FileStamp", "Filed", "Item", "Match", "add_files"]
