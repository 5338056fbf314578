"""What is under way is counted, and done once for all who want it."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.errors import Overloaded
from extractor.inflight import Admission, Flights


class Waiter:
    """Waits until it is told not to."""

    patient = True

    def waits(self) -> bool:
        return self.patient


@given(st.lists(st.integers(0, 50), max_size=40))
def test_admission_never_passes_its_limits_and_recovers(sizes: list[int]) -> None:
    """At most so many items and bytes, but for one that is alone; what left makes room."""
    admission, inside = Admission(5, 100), dict[int, int]()
    for size in sizes:
        try:
            number = _enter(admission, size)
        except Overloaded:
            assert len(inside) == 5 or sum(inside.values()) + size > 100
            oldest = next(iter(inside))
            del inside[oldest]
            admission.leave(oldest, answered=False)
        else:
            inside[number] = size
        assert (admission.items, admission.bytes) == (len(inside), sum(inside.values()))
        assert admission.items <= 5
        assert admission.bytes <= 100
    for number in inside:
        admission.leave(number, answered=True)
    assert admission.oldest() == 0
    _enter(admission, 10_000)
    assert admission.oldest() > 0
    with pytest.raises(Overloaded, match="1 images with 10,000 bytes"):
        _enter(admission, 0)


def _enter(admission: Admission, size: int) -> int:
    (number,) = admission.enter([size], math.inf)
    return number


def test_what_would_come_too_late_is_refused_at_once() -> None:
    """Once it is known how fast items move; the hint says about how long there is to wait."""
    admission = Admission(1000, 1000)
    numbers = admission.enter([1] * 10, time.monotonic() + 1)  # nothing is known yet
    admission.pace = 0.1
    for ask in (lambda: admission.enter([1] * 3, time.monotonic() + 1.5), lambda: admission.check(0)):
        with pytest.raises(Overloaded, match=r"takes about 1\.0 s") as caught:
            ask()
        assert caught.value.retry_after == pytest.approx(1)
    admission.check(time.monotonic() + 60)
    assert admission.refused == 4
    for number in numbers:
        admission.leave(number, answered=False)
    assert admission.pace == 0.1  # those who were dropped say nothing of it
    admission.enter([1] * 2000, time.monotonic())  # whatever it is, when nothing is under way


def test_answers_tell_how_fast_items_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean time between two of them, while there is something to do."""
    clock = [100.0]
    monkeypatch.setattr("extractor.inflight.time.monotonic", lambda: clock[0])
    admission = Admission(1000, 1000)
    for _ in range(3):
        numbers = admission.enter([1] * 200, math.inf)
        clock[0] += 5  # the first of them says nothing: how long an item takes is not how many are done
        for number in numbers:
            admission.leave(number, answered=True)
            clock[0] += 0.01
        clock[0] += 1000  # nor does a time with nothing to do
    assert admission.pace == pytest.approx(0.01, rel=0.01)


def test_the_first_does_the_work_for_all() -> None:
    """Everyone who boards is there when it lands; later comers begin another."""
    flights: Flights[Waiter] = Flights()
    first, second, later = Waiter(), Waiter(), Waiter()
    assert flights.board(b"a", first)
    assert not flights.board(b"a", second)
    assert flights.board(b"b", Waiter())
    assert flights.land(b"a") == [first, second]
    assert flights.board(b"a", later)


def test_a_flight_nobody_waits_for_ends() -> None:
    """One who leaves does not end it; when all have left, the next one begins anew."""
    flights: Flights[Waiter] = Flights()
    first, second = Waiter(), Waiter()
    flights.board(b"a", first)
    flights.board(b"a", second)
    first.patient = False
    assert flights.abandoned(b"a") is None
    second.patient = False
    assert flights.abandoned(b"a") == [first, second]
    assert flights.board(b"a", Waiter())
