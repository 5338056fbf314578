"""Log lines: what they look like, and what of calls is logged."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.logs import CallLog, Json, Logfmt

OK, GONE, FULL = (
    grpc.StatusCode.OK,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


def record(message: str = "hello", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("extractor.x", logging.WARNING, __file__, 1, message, (), None)
    made.created = 1_800_000_000.25
    made.fields = fields
    return made


def test_a_line_is_pairs_of_keys_and_values() -> None:
    """Words stand plain, what holds more is in quotes."""
    line = Logfmt().format(record("it is full", items=3, peer="ipv4:127.0.0.1:5", why='no "room"', empty=""))
    assert line == (
        "time=2027-01-15T08:00:00.250+00:00 level=warning logger=extractor.x "
        r'msg="it is full" items=3 peer=ipv4:127.0.0.1:5 why="no \"room\"" empty=""'
    )


def test_json_has_the_same_pairs() -> None:
    """Numbers stay numbers."""
    assert json.loads(Json().format(record("it is full", items=3))) == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "level": "warning",
        "logger": "extractor.x",
        "msg": "it is full",
        "items": 3,
    }


@pytest.mark.parametrize("formatter", [Logfmt(), Json()])
def test_a_trace_stays_in_its_line(formatter: logging.Formatter) -> None:
    """Whatever reads the log takes a line for a record."""
    failed = record("our own fault")
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        failed.exc_info = sys.exc_info()
    line = formatter.format(failed)
    assert "\n" not in line
    assert r"RuntimeError: first\nsecond" in line
    assert "Traceback (most recent call last)" in line


# What a terminal acts on, what ends a line for one reader or another, and what UTF-8 cannot carry.
ODD = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", chr(0xD800), chr(0xDCFF)}


@given(st.text(st.one_of(st.sampled_from(sorted(ODD)), st.sampled_from(' "\\=a'), st.characters())))
def test_nothing_that_callers_send_breaks_out_of_its_value(text: str) -> None:
    """In either format the line has no odd character, and the value is one value."""
    line = Logfmt().format(record(text, request_id=text, last=1))
    assert not ODD & set(line)
    line.encode()
    keys = [pair.split("=", 1)[0] for pair in shlex.split(line)]
    assert keys == ["time", "level", "logger", "msg", "request_id", "last"]
    line = Json().format(record(text, request_id=text))
    assert not ODD & set(line)
    assert json.loads(line)["request_id"] == text


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        seconds = 100.0

        def __call__(self) -> float:
            return self.seconds

    return Clock()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [{"level": record.levelname, **record.fields} for record in caplog.records]


def test_a_call_is_one_line_at_debug(
    caplog: pytest.LogCaptureFixture, make_call: Callable[..., Any], now: Any
) -> None:
    """It names what is needed to find the call elsewhere, and what it came to."""
    log = CallLog(now)
    call = make_call("a", items=3, failed=1, cached=2, begun=now.seconds - 0.0125)
    with caplog.at_level(logging.DEBUG, "extractor.logs"):
        log.begun(call)
        log.ended(call, OK, "")
    assert lines(caplog) == [
        {
            "level": "DEBUG",
            "request_id": "a",
            "method": "penultimate.v1.Extractor/Embed",
            "peer": "ipv4:127.0.0.1:5",
            "status": "OK",
            "items": 3,
            "failed": 1,
            "cached": 2,
            "ms": 12.5,
        }
    ]


def test_a_call_that_fails_is_a_warning_with_its_reason(
    caplog: pytest.LogCaptureFixture, make_call: Callable[..., Any], now: Any
) -> None:
    """A caller that leaves is none: that is its right."""
    log = CallLog(now)
    with caplog.at_level(logging.INFO, "extractor.logs"):
        log.ended(make_call("a"), FULL, "no room")
        log.ended(make_call("b"), GONE, "")
        log.ended(make_call("c"), OK, "")
    (line,) = lines(caplog)
    assert (line["level"], line["request_id"], line["why"]) == ("WARNING", "a", "no room")


def test_a_flood_of_failures_is_a_warning_a_second(
    caplog: pytest.LogCaptureFixture, make_call: Callable[..., Any], now: Any
) -> None:
    """For each status; those between are lines at debug, and counted in the next warning."""
    log = CallLog(now)
    with caplog.at_level(logging.DEBUG, "extractor.logs"):
        for _ in range(5):
            log.ended(make_call("a"), FULL, "no room")
        log.ended(make_call("a"), grpc.StatusCode.INTERNAL, "our fault")
        now.seconds += 1
        log.ended(make_call("a"), FULL, "no room")
    levels = [line["level"] for line in lines(caplog)]
    assert levels == ["WARNING", "DEBUG", "DEBUG", "DEBUG", "DEBUG", "WARNING", "WARNING"]
    assert [line.get("unsaid") for line in lines(caplog)] == [None] * 6 + [4]


def test_what_a_library_tries_while_it_is_loaded_is_not_logged() -> None:
    """In a new process, which loads it after it was told how to log, as the service does."""
    code = "import logging; from extractor.logs import configure; configure('{}', 'logfmt'); import faiss; "
    code += "logging.getLogger('extractor').info('ours')"
    for level, ours in (("info", 1), ("warning", 0)):
        ended = subprocess.run([sys.executable, "-c", code.format(level)], capture_output=True, text=True)
        assert ended.returncode == 0
        assert ended.stderr.count("msg=ours") == len(ended.stderr.splitlines()) == ours
