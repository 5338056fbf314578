"""Which fields the items of a collection have, so that a misspelt one in a filter is noticed."""

from __future__ import annotations

import re

from extractor.collections.filters import COLUMNS, Filter
from extractor.collections.reader import Reader
from extractor.errors import InvalidArgument

_SHOWN = 20


def require_fields(reader: Reader, where: Filter | None) -> None:
    """Check that a filter compares only fields that some item has; an empty collection has none to miss.

    A comparison with a field that no item has is true of none, or of all of
    them (`!=`): seldom what was meant.

    Raises
    ------
    InvalidArgument
        Naming those that there are.
    """
    if where is None or not len(reader):
        return
    for name, path in where.fields:
        query = "SELECT 1 FROM items WHERE json_type(metadata, ?) IS NOT NULL LIMIT 1"
        if reader.db.execute(query, (path,)).fetchone() is None:
            there = ", ".join((*COLUMNS, *_keys(reader)))
            raise InvalidArgument(f"no item has a field {name!r}; there are: {there}")


def _keys(reader: Reader) -> list[str]:
    """The keys of all items' metadata as a filter writes them, as far as a line has room."""
    query = "SELECT DISTINCT key FROM items, json_each(metadata) ORDER BY key LIMIT ?"
    keys = [key for (key,) in reader.db.execute(query, (_SHOWN + 1,))]
    written = [key if re.fullmatch(r"[^\W\d]\w*", key) else f'"{key}"' for key in keys[:_SHOWN]]
    return [*written, "..."] if len(keys) > _SHOWN else written
