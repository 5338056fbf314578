"""How the Open Inference Protocol writes the elements of a tensor: one after the other, as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from extractor.errors import InvalidArgument

_LENGTH = struct.Struct("<I")


def split(name: str, data: bytes, count: int) -> list[bytes]:
    """The elements of a tensor of type BYTES, each of which has its length before it.

    Parameters
    ----------
    name : str
        The tensor's, for what is said of it.
    data : bytes
        For each element four bytes with its length, little-endian, and the element.
    count : int
        How many elements the tensor's shape has.

    Raises
    ------
    InvalidArgument
        When these are not `count` whole elements.
    """
    elements: list[bytes] = []
    start, size = 0, len(data)
    while start < size and len(elements) < count:
        length = _LENGTH.unpack_from(data, start)[0] if size - start >= _LENGTH.size else size
        start += _LENGTH.size
        if length > size - start:
            raise InvalidArgument(
                f"element {len(elements)} of {name!r} is cut short: an element is four bytes with its "
                f"length, little-endian, and then as many bytes, but the tensor ends after {size:,}"
            )
        elements.append(data[start : start + length])  # copied: one image shall not keep all in memory
        start += length
    if start < size or len(elements) < count:
        found = f"more than {count}" if start < size else f"only {len(elements)}"
        raise InvalidArgument(f"{name!r} has the shape of {count} elements, and the bytes of {found}")
    return elements


def join(elements: Iterable[bytes]) -> bytes:
    """What `split` splits."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))
