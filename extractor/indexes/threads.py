"""The cores, shared by all searches: one thread each, and in each FAISS keeps to itself.

FAISS would start a team of threads for every thread that calls it. Here a
search is cut into parts instead, and the parts of all searches take turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

from extractor import settings

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """What `work` makes of each part, in order, computed on all cores.

    `work` must not call this itself: it would wait for the thread it runs in.
    """
    return list(_threads().map(work, parts))


@cache
def cores() -> int:
    """How many there are; looked up once, since a container's quota is in files."""
    return settings.cores()


def ranges(count: int, least: int = 1) -> list[slice]:
    """Cut `count` things into as many ranges as there are cores, of at least `least` things each."""
    parts = max(1, min(cores(), count // least))
    ends = [count * part // parts for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "search", initializer=_alone)


def _alone() -> None:
    import faiss

    faiss.omp_set_num_threads(1)  # OpenMP keeps this number for each thread by itself


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not come along
