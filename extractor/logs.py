"""What the service logs: a line for each record, as `key=value` pairs or JSON; a record for each call."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extractor.text import printable

if TYPE_CHECKING:
    import grpc

    from extractor.call import Call
    from extractor.results import Result

log = logging.getLogger(__name__)

FORMATS = ("logfmt", "json")

WARNINGS_APART = 1.0
"""Seconds between two warnings of calls with one status; a flood of them would slow the service."""

_QUIET = "faiss.loader"
"""Says at info which builds of the library this processor cannot use, as if that were amiss."""

_NO_PROBLEM = ("OK", "CANCELLED")
_PLAIN = re.compile(r"""[^\s="'\\]+""")


class Logfmt(logging.Formatter):
    """`time=... level=info logger=... msg="..." key=value ...`, on one line whatever callers sent."""

    def format(self, record: logging.LogRecord) -> str:
        r"""One line; a trace of our own fault is in it, with its line ends as `\n`."""
        return " ".join(f"{key}={_quoted(value)}" for key, value in self._pairs(record).items())

    def _pairs(self, record: logging.LogRecord) -> dict[str, object]:
        pairs: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            pairs["trace"] = self.formatException(record.exc_info)
        return pairs


class Json(Logfmt):
    """The same pairs as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII: control characters and stray surrogates are escaped by JSON itself."""
        return json.dumps(self._pairs(record), default=str)


class CallLog:
    """Logs each call as it ends; observes all calls of a server.

    One that succeeded, or whose caller left, is a line at debug. One that
    failed is a line at warning, with its reason, at most one a second for each
    status: the next says in `unsaid` how many there were between. Those are
    lines at debug.

    Parameters
    ----------
    clock : callable
        The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[grpc.StatusCode, float] = {}
        self._unsaid: dict[grpc.StatusCode, int] = {}

    def begun(self, _call: Call) -> None:
        """Nothing is logged yet."""

    def answered(self, _call: Call, _results: Sequence[Result]) -> None:
        """Nothing is logged yet; the call counts."""

    def ended(self, call: Call, code: grpc.StatusCode, why: str) -> None:
        """One line."""
        level = self._level(code)
        if log.isEnabledFor(level):
            fields = self._fields(call, code, why)
            if level == logging.WARNING and (unsaid := self._unsaid.pop(code, 0)):
                fields["unsaid"] = unsaid
            log.log(level, "call ended", extra={"fields": fields})

    def _level(self, code: grpc.StatusCode) -> int:
        if code.name in _NO_PROBLEM:
            return logging.DEBUG
        now = self._clock()
        if now - self._said.get(code, -WARNINGS_APART) < WARNINGS_APART:
            self._unsaid[code] = self._unsaid.get(code, 0) + 1
            return logging.DEBUG
        self._said[code] = now
        return logging.WARNING

    def _fields(self, call: Call, code: grpc.StatusCode, why: str) -> dict[str, object]:
        fields: dict[str, object] = {
            "request_id": call.request_id,
            "method": call.method,
            "peer": call.peer,
            "status": code.name,
            "items": call.items,
            "failed": call.failed,
            "cached": call.cached,
            "ms": round(1000 * (self._clock() - call.begun), 1),
        }
        return fields | ({"why": why} if why else {})


def configure(level: str, form: str) -> None:
    """Send what is logged to standard error.

    Parameters
    ----------
    level : str
        The least that is logged: "debug", "info", "warning" or "error".
    form : str
        One of `FORMATS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if form == "json" else Logfmt())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger(_QUIET).setLevel(max(logging.WARNING, logging.getLogger().level))


def _quoted(value: object) -> str:
    """A value as logfmt writes it: in quotes, with escapes, unless it is one plain word."""
    text = printable(str(value).replace("\\", "\\\\").replace('"', '\\"'))
    return text if _PLAIN.fullmatch(text) else f'"{text}"'
