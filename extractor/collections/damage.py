"""What is wrong with a stored row, told from its checksum."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from extractor.collections import checksums
from extractor.indexes import has_direction

Kind: TypeAlias = Literal["row", "metadata", "vector"]


def of_row(row: Sequence[Any], checksum: int) -> tuple[Kind, str] | None:
    """What is wrong with an item's `checksums.ROW`, read undecoded; None when it is what was written."""
    if not all(map(is_unicode, row)):
        return "row", "one of its texts is no Unicode"
    if checksums.of_row(row) == checksum:
        return None
    if reason := _of_metadata(row[-1]):
        return "metadata", reason
    return "row", "its id, label, metadata or file has another checksum"


def of_vector(number: int, blob: object, checksum: int | None, dim: int) -> str:
    """What is wrong with the vector of an item; empty when it is what was written."""
    if blob is None:
        return "it has no vector"
    if not isinstance(blob, bytes) or len(blob) != 4 * dim:
        return f"its vector is not of {dim} values"
    if checksums.of_vector(number, blob) != checksum:
        return "its vector has another checksum"
    if not has_direction(np.frombuffer(blob, "<f4")[None])[0]:
        return "its vector is zero or not finite"
    return ""


def is_unicode(value: object) -> bool:
    """False for a text that was read with bytes as surrogates."""
    return (
        not isinstance(value, str)
        or value.isascii()
        or not any("\udc80" <= sign <= "\udcff" for sign in value)
    )


def _of_metadata(text: str) -> str:
    try:
        return "" if text == "{}" or isinstance(json.loads(text), dict) else "its metadata is no JSON object"
    except (TypeError, ValueError):
        return "its metadata is no JSON"
