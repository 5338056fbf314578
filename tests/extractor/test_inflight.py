"""What is under way is counted, and done once for all who want it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(eq=False)
class Item:
    """Something to let in."""

    size: int
    accepted: float = 0.0


def several(number: int) -> list[Item]:
    return [Item(1) for _ in range(number)]


@given(st.lists(st.integers(0, 50), max_size=40))
def test_admission_never_passes_its_limits_and_recovers(sizes: list[int]) -> None:
    """At most so many items and bytes, but for one that is alone; what left makes room."""
    admission, inside = Admission(5, 100), list[Item]()
    for size in sizes:
        try:
            item = _enter(admission, size)
        except Overloaded:
            assert len(inside) == 5 or sum(one.size for one in inside) + size > 100
            admission.leave(inside.pop(0), answered=False)
        else:
            inside.append(item)
        assert (admission.items, admission.bytes) == (len(inside), sum(one.size for one in inside))
        assert admission.items <= 5
        assert admission.bytes <= 100
    for item in inside:
        admission.leave(item, answered=True)
    assert admission.oldest() == 0
    _enter(admission, 10_000)
    assert admission.oldest() > 0
    with pytest.raises(Overloaded, match="1 images with 10,000 bytes"):
        _enter(admission, 0)


def _enter(admission: Admission, size: int) -> Item:
    item = Item(size)
    admission.enter([item], math.inf)
    return item


def test_what_would_come_too_late_is_refused_at_once() -> None:
    """Once it is known how fast items move; the hint says about how long there is to wait."""
    admission = Admission(1000, 1000)
    items = several(10)
    admission.enter(items, time.monotonic() + 1)  # nothing is known yet
    admission.pace = 0.1
    for ask in (
        lambda: admission.enter(several(3), time.monotonic() + 1.5),
        lambda: admission.check(0, ahead=0),
    ):
        with pytest.raises(Overloaded, match=r"takes about 1\.0 s") as caught:
            ask()
        assert caught.value.retry_after == pytest.approx(1)
    admission.check(time.monotonic() + 2.1, ahead=0)
    with pytest.raises(Overloaded, match=r"11 images are pending, which takes about 1\.1 s"):
        admission.check(time.monotonic() + 2.1, ahead=1)  # once that one is in
    assert admission.refused == 5
    for pace, pause in (
        (0.1043, 1.0),
        (0.001, 0.1),
        (10, 5),
    ):  # in tenths of a second, at least one, at most 5 s
        admission.pace = pace
        with pytest.raises(Overloaded) as caught:
            admission.check(0, ahead=0)
        assert caught.value.retry_after == pause
    admission.pace = 0.1
    for item in items:
        admission.leave(item, answered=False)
    assert admission.pace == 0.1  # those who were dropped say nothing of it
    admission.check(time.monotonic(), ahead=50)  # nothing is under way but what comes
    admission.enter(several(2000), time.monotonic())  # whatever it is, when nothing is under way


def test_answers_tell_how_fast_items_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean time between two of them, while there is something to do."""
    clock = [100.0]
    monkeypatch.setattr("extractor.inflight.time.monotonic", lambda: clock[0])
    admission = Admission(1000, 1000)
    for _ in range(3):
        items = several(200)
        admission.enter(items, math.inf)
        clock[0] += 5  # the first of them says nothing: how long an item takes is not how many are done
        for item in items:
            admission.leave(item, answered=True)
            clock[0] += 0.01
        clock[0] += 1000  # nor does a time with nothing to do
    assert admission.pace == pytest.approx(0.01, rel=0.01)


def test_the_first_does_the_work_for_all() -> None:
    """Everyone who boards is there when it lands; later comers begin another."""
    flights: Flights[Waiter] = Flights(pytest.fail)
    first, second, later = Waiter(), Waiter(), Waiter()
    assert flights.board(b"a", first)
    assert not flights.board(b"a", second)
    assert flights.board(b"b", Waiter())
    assert flights.first(b"a") is first
    assert flights.land(b"a") == [first, second]
    assert flights.board(b"a", later)


def test_a_flight_nobody_waits_for_ends() -> None:
    """One who leaves does not end it; when all have left, the next one begins anew."""
    dropped: list[Sequence[Waiter]] = []
    flights: Flights[Waiter] = Flights(dropped.append)
    first, second = Waiter(), Waiter()
    flights.board(b"a", first)
    flights.board(b"a", second)
    first.patient = False
    assert flights.first(b"a") is second
    assert not dropped
    second.patient = False
    assert flights.first(b"a") is None
    assert dropped == [[first, second]]
    assert flights.board(b"a", Waiter())
