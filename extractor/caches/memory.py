"""A cache in this process's memory, bounded, the least recently used row leaving first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from extractor.caches import Row


class MemoryCache:
    """Keeps at most `capacity` rows."""

    failures = 0

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._rows: OrderedDict[bytes, Row] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `Cache`."""
        with self._lock:
            return [self._touch(key) for key in keys]

    def put_many(self, rows: Mapping[bytes, Row]) -> None:
        """See `Cache`."""
        with self._lock:
            for key, row in rows.items():
                self._rows[key] = row
                self._rows.move_to_end(key)
            while len(self._rows) > self._capacity:
                self._rows.popitem(last=False)

    def flush(self) -> None:
        """Nothing to do: memory is as durable as it will be."""

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows.clear()

    def _touch(self, key: bytes) -> Row | None:
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row
