"""The progress bar of every long job: on standard error, only when it takes a while."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, doing: str, unit: str = " images") -> Iterator[T]:
    """Pass `items` through, showing count, rate and time left from the second second on.

    On a terminal the bar moves; in a log file a line is written now and then.
    """
    from tqdm import tqdm

    pause = 0.2 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, doing, total, unit=unit, delay=1.0, mininterval=pause, maxinterval=2 * pause)
