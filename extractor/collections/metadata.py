"""Free facts about an item: a JSON object, checked and bounded, as SQLite can search it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from extractor.errors import InvalidArgument

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Metadata: TypeAlias = "Mapping[str, Json]"

MAX_BYTES = 64 * 1024
"""Of one item's metadata, as JSON text."""

MAX_DEPTH = 32
"""Of lists and objects in one another; SQLite itself gives up at a thousand."""


def checked(metadata: Any, whose: str) -> dict[str, Json]:
    """A copy of `metadata`, which can be stored and searched.

    Parameters
    ----------
    metadata : mapping
    whose : str
        For the message, such as "item 'a'".

    Raises
    ------
    InvalidArgument
        When it is not a JSON object with finite numbers of at most 64 bits,
        or is larger than `MAX_BYTES`, or deeper than `MAX_DEPTH`.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidArgument(f"the metadata of {whose} must be a JSON object, not {type(metadata).__name__}")
    try:
        copy = {_key(key): _value(value, MAX_DEPTH) for key, value in metadata.items()}
        size = len(dumped(copy).encode())
    except ValueError as error:
        raise InvalidArgument(f"the metadata of {whose} cannot be stored: {error}") from None
    if size > MAX_BYTES:
        raise InvalidArgument(f"the metadata of {whose} has {size:,} bytes; at most {MAX_BYTES:,} are kept")
    return copy


def dumped(metadata: Metadata) -> str:
    """The JSON text of checked metadata."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":")) if metadata else "{}"


def merged(old: Metadata, new: Metadata) -> dict[str, Json]:
    """`old` with the keys of `new`; those that are None there are removed."""
    both = {**old, **new}
    return {key: value for key, value in both.items() if key not in new or value is not None}


def _value(value: Any, levels: int) -> Json:
    if isinstance(value, Mapping | list | tuple):
        return _nested(value, levels - 1)
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        raise ValueError(f"{value} does not fit in 64 bits; store it as text")
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{value!r} is no JSON value")


def _nested(value: Any, levels: int) -> Json:
    if not levels:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {_key(key): _value(part, levels) for key, part in value.items()}
    return [_value(part, levels) for part in value]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise ValueError(f"the key {key!r} is no text")
