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

    yield from tqdm(items, doing, total, unit=unit, **_manner())


def _manner() -> dict[str, Any]:
    """How a bar is drawn: anew in its place on a terminal, now and then as a line of its own in a file."""
    terminal = sys.stderr.isatty()
    pause = 0.2 if terminal else 10.0
    place = {} if terminal else {"file": _Lines(), "ncols": 100}
    return {"delay": DELAY, "mininterval": pause, "maxinterval": 2 * pause, **place}


class _Lines:
    """Standard error, where nothing moves back to the beginning of a line; nothing is said twice running."""

    _last = ""

    def write(self, text: str) -> None:
        if (line := text.strip()) and line != self._last:
            print(line, file=sys.stderr)  # noqa: T201
            self._last = line

    def flush(self) -> None:
        sys.stderr.flush()


class Steps:
    """A bar that is moved by hand, and lines that are said beside it."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def step(self) -> None:
        """One more is done."""
        self._bar.bar_format = None
        self._bar.update()

    def pass_over(self) -> None:
        """One that took next to no time: it counts, but not into the rate, nor so into the time left."""
        self._bar.n += 1
        self._bar.initial += 1
        self._bar.last_print_n += 1
        self._bar.update(0)

    def doing(self, what: str) -> None:
        """Say what is being done from here on, once there is a bar; with figures from its first step."""
        self._bar.bar_format = "{desc} …"
        self._bar.set_description_str(what, refresh=False)
        if self._shown():
            self._bar.refresh()
            self._drawn()

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        if self._shown():
            self._bar.write(line, file=sys.stderr)
            self._drawn()
        else:
            print(line, file=sys.stderr)  # noqa: T201

    def _drawn(self) -> None:
        """Closing the bar is then to end its line."""
        self._bar.last_print_t = time.time()

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
    unit : str
    """
    from tqdm import tqdm

    # Of `miniters` 0, or what was passed over quickly would put off what is to be drawn of the slow rest.
    with tqdm(desc=doing, unit=unit, miniters=0, **_manner()) as bar:
        if count:
            threading.Thread(target=_set_total, args=(bar, count), name="count", daemon=True).start()
        yield Steps(bar)


def _set_total(bar: Any, count: Callable[[], int]) -> None:
    with suppress(Exception):  # who does the work says what is wrong
        bar.total = count()
