"""CRC-32 of what the rows of a collection hold: it tells a flipped bit, and another item's row."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

ROW = "number, id, digest, source, size, mtime_ns, label, metadata"
"""The columns of an item that its checksum is of, in their order."""

Value: TypeAlias = "str | bytes | int | float | None"

_BITS_TRIED = 2**16


class DamagedRow(Exception):
    """A row that nothing here has written; says which."""


def of_vector(number: int, vector: bytes) -> int:
    """Of a vector, as the item's of that number."""
    return zlib.crc32(vector, number & 0xFFFFFFFF)


def of_row(values: Sequence[Value]) -> int:
    """Of an item's `ROW`; a text and the same bytes have different ones."""
    return zlib.crc32(b"\0".join(map(_encoded, values)))


def checked(row: Sequence[Any]) -> Sequence[Any]:
    """The values of a row whose checksum stands behind them; DamagedRow when it does not fit."""
    values, checksum = row[:-1], row[-1]
    if of_row(values) != checksum:
        raise DamagedRow(
            f"the id, label, metadata or file of item {values[1]!r} is not what was written: "
            "it has another checksum"
        )
    return values


def restored(values: Sequence[Value], checksum: int) -> Sequence[Value] | None:
    """The row as it was written, when one bit of it, or of its checksum, has flipped; None when more has.

    No two rows of a single bit's difference have one CRC-32, so what fits is it.
    """
    if (of_row(values) ^ checksum).bit_count() <= 1:
        return values
    parts = [_encoded(value) for value in values]
    if 8 * sum(map(len, parts)) > _BITS_TRIED:
        return None
    for place in range(1, len(values)):  # a number is what the row is found by
        for value in _of_one_bit_more(values[place]):
            if zlib.crc32(b"\0".join([*parts[:place], _encoded(value), *parts[place + 1 :]])) == checksum:
                return [*values[:place], value, *values[place + 1 :]]
    return None


def _of_one_bit_more(value: Value) -> Iterator[Value]:
    """All values that differ in a single bit of what SQLite stores."""
    if value is None or isinstance(value, float):
        return
    kind, content = type(value), _encoded(value)[1:]
    for bit in range(8 * len(content)):
        flipped = (int.from_bytes(content) ^ 1 << bit).to_bytes(len(content))
        if kind is str:
            yield flipped.decode(errors="surrogateescape")
        else:
            yield flipped if kind is bytes else int.from_bytes(flipped, signed=True)
    if kind is not int:  # one bit of SQLite's says whether it is text
        yield content if kind is str else content.decode(errors="surrogateescape")


def _encoded(value: Value) -> bytes:
    """The bytes of a value behind a letter for its type."""
    if value is None:
        return b"-"
    if isinstance(value, str):
        return b"t" + value.encode(errors="surrogateescape")
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, int):
        return b"i" + value.to_bytes(8, signed=True)
    return b"f" + repr(value).encode()
