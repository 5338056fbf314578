"""Which kind of index suits a collection: the plainest that is quick enough and fits into memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from extractor.errors import InvalidArgument
from extractor.indexes.segments import Kind

_BYTES_PER_MS = 15e6
"""What a scan reads: 15 GB/s, which two cores of a common server reach; more memory channels read more."""

_READING_BACK_MS = 5.0
"""Below this, halving a scan saves less than it costs to read the candidates' vectors from the disk."""


def _half_of_the_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True, slots=True)
class Budget:
    """What an index may take.

    Attributes
    ----------
    latency_ms : float
        Of one query alone. 50 ms are half of what people take for "at once"; the other
        half is for the query's own embedding and the network.
    memory : int
        In bytes; half of the machine's when nothing is said.

    Raises
    ------
    InvalidArgument
        When one of them is not positive.
    """

    latency_ms: float = 50.0
    memory: int = field(default_factory=_half_of_the_memory)

    def __post_init__(self) -> None:
        if not (self.latency_ms > 0 and self.memory > 0):
            raise InvalidArgument(
                f"an index needs some time and memory, not {self.latency_ms} ms and {self.memory} bytes"
            )


class Choice(NamedTuple):
    """A kind, and why, in one line such as `exact: 12,000 vectors take about 4 ms a query`."""

    kind: Kind
    reason: str


def choose(count: int, dim: int, budget: Budget | None = None) -> Choice:
    """The kind for `count` vectors of width `dim`.

    Exact kinds come first, as long as comparing with every vector keeps within
    the budget; then `ivf`. A graph (`hnsw`) is quicker still, but takes ten
    times as long to build: it is for those who ask for it.
    """
    budget = budget or Budget()
    plain, halved = count * dim * 4, count * dim * 2
    if plain / _BYTES_PER_MS <= min(_READING_BACK_MS, budget.latency_ms) and plain <= budget.memory:
        return Choice("exact", f"exact: {_takes(count, plain)}")
    if halved / _BYTES_PER_MS > budget.latency_ms:
        wanted = f"{budget.latency_ms:g} ms are wanted"
        return Choice("ivf", f"ivf: compared one by one {_takes(count, halved)}; {wanted}")
    if halved > budget.memory:
        allowed = f"{_size(budget.memory)} are allowed"
        return Choice("ivf", f"ivf: {count:,} vectors take {_size(halved)} in 16 bits a value; {allowed}")
    return Choice("exact-fp16", f"exact-fp16: {_takes(count, halved)}")


def _takes(count: int, size: int) -> str:
    ms = size / _BYTES_PER_MS
    return f"{count:,} vectors take about {max(1, round(ms)):,} ms a query"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
