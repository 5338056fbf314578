"""What is under way is counted, and done once for all who want it."""

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.errors import Overloaded
from extractor.inflight import Admission, Flights


@given(st.lists(st.integers(0, 50), max_size=40))
def test_admission_never_passes_its_limits_and_recovers(sizes: list[int]) -> None:
    """At most so many items and bytes, but for one that is alone; what left makes room."""
    admission, inside = Admission(5, 100), list[int]()
    for size in sizes:
        try:
            admission.enter(size)
        except Overloaded:
            assert len(inside) == 5 or sum(inside) + size > 100
            admission.leave(inside.pop(0))
        else:
            inside.append(size)
        assert len(inside) <= 5
        assert sum(inside) <= 100
    for size in inside:
        admission.leave(size)
    admission.enter(10_000)
    with pytest.raises(Overloaded, match="1 images with 10,000 bytes"):
        admission.enter(0)


def test_the_first_does_the_work_for_all() -> None:
    """Everyone who boards is there when it lands; later comers begin another."""
    flights: Flights[int] = Flights()
    first, second, later = Future[int](), Future[int](), Future[int]()
    assert flights.board(b"a", first)
    assert not flights.board(b"a", second)
    assert flights.board(b"b", Future())
    assert flights.land(b"a") == [first, second]
    assert flights.board(b"a", later)


def test_a_flight_nobody_waits_for_ends() -> None:
    """One who leaves does not end it; when all have left, the next one begins anew."""
    flights: Flights[int] = Flights()
    first, second = Future[int](), Future[int]()
    flights.board(b"a", first)
    flights.board(b"a", second)
    first.cancel()
    assert flights.wanted(b"a")
    second.cancel()
    assert not flights.wanted(b"a")
    assert flights.board(b"a", Future())
