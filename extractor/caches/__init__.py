"""Caches of embeddings: a row per (fingerprint, digest), in memory or on disk.

A cache that fails slows the work; it never stops it and never changes an answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from extractor.results import Vector

_CHECKSUM_BYTES = 4


class Row(NamedTuple):
    """One remembered vector and the numerics that computed it, such as `cpu/fp32`."""

    numerics: str
    vector: Vector

    def to_bytes(self, key: bytes) -> bytes:
        """Checksum, length of the numerics, numerics, little-endian float32."""
        numerics = self.numerics.encode()
        body = bytes([len(numerics)]) + numerics + self.vector.astype("<f4", copy=False).tobytes()
        return _checksum(key, body) + body

    @classmethod
    def from_bytes(cls, key: bytes, record: bytes) -> Row | None:
        """What `to_bytes` wrote for this key, or None when it is not that any more."""
        checksum, body = record[:_CHECKSUM_BYTES], record[_CHECKSUM_BYTES:]
        if not body or _checksum(key, body) != checksum:
            return None
        start = 1 + body[0]
        return cls(body[1:start].decode(), np.frombuffer(body, "<f4", offset=start))


def _checksum(key: bytes, body: bytes) -> bytes:
    """Of the key as well: a damaged file may lead from one image's key to another one's row."""
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little")


def key(fingerprint: str, digest: bytes) -> bytes:
    """The 64 bytes that a row is kept under."""
    return bytes.fromhex(fingerprint) + digest


class Cache(Protocol):
    """What every cache does.

    Attributes
    ----------
    failures : int
        Reads and writes that failed and were passed by.
    """

    @property
    def failures(self) -> int: ...  # noqa: D102

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """A row for each key, or None where there is none that is whole."""
        ...

    def put_many(self, rows: Mapping[bytes, Row]) -> None:
        """Remember `rows`; they are found at once, and are durable after `flush`."""
        ...

    def flush(self) -> None:
        """Return when all that was put is as durable as it will be."""
        ...

    def close(self) -> None:
        """Flush and release."""
        ...
