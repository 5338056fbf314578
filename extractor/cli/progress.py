"""The progress bar of every long job: on standard error, only when it takes a while."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

DELAY = 1.0
"""Seconds before there is a bar."""


def progress(items: Iterable[T], total: int, doing: str, unit: str = " images") -> Iterator[T]:
    """Pass `items` through, showing count, rate and time left from the second second on.

    On a terminal the bar moves; in a log file a line is written now and then.
    """
    from tqdm import tqdm

    pause = 0.2 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, doing, total, unit=unit, delay=DELAY, mininterval=pause, maxinterval=2 * pause)


class Steps:
    """A bar that is moved by hand, and lines that are said beside it."""

    def __init__(self, bar: Any) -> None:
        self.step: Callable[[], object] = bar.update
        self._bar = bar

    def doing(self, what: str) -> None:
        """Say what is being done from here on, once there is a bar."""
        self._bar.set_description_str(what, refresh=self._shown())

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        if self._shown():
            self._bar.write(line, file=sys.stderr)
            self._bar.last_print_t = time.time()  # which drew the bar: closing it ends its line
        else:
            print(line, file=sys.stderr)  # noqa: T201

    def _shown(self) -> bool:
        return bool(self._bar.format_dict["elapsed"] >= DELAY)


@contextmanager
def counting(doing: str, count: Callable[[], int] | None = None, unit: str = " images") -> Iterator[Steps]:
    """A bar for what is done one at a time.

    Parameters
    ----------
    doing : str
    count : callable, optional
        How many there are; found out beside the work, and shown from then on.
    """
    from tqdm import tqdm

    pause = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(desc=doing, unit=unit, delay=DELAY, mininterval=pause, maxinterval=2 * pause) as bar:
        if count:
            threading.Thread(target=_set_total, args=(bar, count), name="count", daemon=True).start()
        yield Steps(bar)


def _set_total(bar: Any, count: Callable[[], int]) -> None:
    with suppress(Exception):  # who does the work says what is wrong
        bar.total = count()
