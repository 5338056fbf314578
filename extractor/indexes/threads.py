"""The cores, shared by all searches: one thread each, and in each FAISS keeps to itself.

FAISS would start a team of threads for every thread that calls it. Here a
search is cut into parts instead, and the parts of all searches take turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import TypeVar

from extractor import settings

T = TypeVar("T")
R = TypeVar("R")

_FOR_EACH = 2

_callers: list[Callable[[], None]] = []


def each(work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """What `work` makes of each part, in order, computed on all cores.

    Each core takes the next part when it is free, and after each part those
    of other callers have their turn: what is asked of many queries does not
    hold up who asks for one. `work` must not call this itself: it would wait
    for the thread it runs in.
    """
    tasks = [(Future[R](), part) for part in parts]
    turn = partial(_turn, work, iter(tasks))
    _callers.append(turn)
    try:
        for _ in range(min(cores(), len(tasks))):
            _threads().submit(turn)
        return [future.result() for future, _ in tasks]
    finally:
        _callers.remove(turn)


def _turn(work: Callable[[T], R], waiting: Iterator[tuple[Future[R], T]]) -> None:
    for future, part in waiting:  # the interpreter hands each out once
        _settle(future, work, part)
        if len(_callers) > 1 and _queued(partial(_turn, work, waiting)):
            return


def _queued(turn: Callable[[], None]) -> bool:
    """Whether it will come; not at the interpreter's end."""
    try:
        _threads().submit(turn)
    except RuntimeError:
        return False
    return True


def _settle(future: Future[R], work: Callable[[T], R], part: T) -> None:
    try:
        future.set_result(work(part))
    except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
        future.set_exception(error)


@cache
def cores() -> int:
    """How many there are; looked up once, since a container's quota is in files."""
    return settings.cores()


def ranges(count: int, least: int = 1) -> list[slice]:
    """Cut `count` things into ranges of at least `least` things, a few for each core.

    A core that other work has a share of then takes fewer of them.
    """
    parts = max(1, min(_FOR_EACH * cores(), count // least))
    ends = [count * part // parts for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "search", initializer=_alone)


def _alone() -> None:
    import faiss

    faiss.omp_set_num_threads(1)  # OpenMP keeps this number for each thread by itself


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not come along
