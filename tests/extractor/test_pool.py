"""A pool does every item it took, urgent ones first, whatever happens to one of them."""

import threading
from queue import Empty

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor.errors import Unavailable
from extractor.pool import Pool


@settings(deadline=None, max_examples=50)
@given(
    items=st.lists(st.tuples(st.integers(), st.booleans()), max_size=60),
    threads=st.integers(1, 4),
    grown=st.integers(0, 60),
)
def test_every_item_is_done_once(items: list[tuple[int, bool]], threads: int, grown: int) -> None:
    """Also those that are queued when it closes, and when it has more threads meanwhile."""
    done: list[int] = []
    pool: Pool[int] = Pool(done.append, threads, "test")
    for number, (item, urgent) in enumerate(items):
        if number == grown:
            pool.grow(threads + 2)
        pool.put(item, urgent=urgent)
    pool.close()
    assert sorted(done) == sorted(item for item, _ in items)
    assert not pool.alive


def test_urgent_items_go_first_and_each_kind_in_its_order() -> None:
    """What came before them waits."""
    entered, gate = threading.Event(), threading.Event()
    done: list[str] = []

    def work(item: str) -> None:
        entered.set()
        assert gate.wait(10)
        done.append(item)

    pool = Pool(work, 1, "test")
    pool.put("first")
    assert entered.wait(10)
    for item in ("a", "B", "c", "D"):
        pool.put(item, urgent=item.isupper())
    assert pool.waiting == 4
    gate.set()
    pool.close()
    assert done == ["first", "B", "D", "a", "c"]


def test_a_fault_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next item is done."""
    done: list[float] = []
    pool: Pool[int] = Pool(lambda item: done.append(1 / item), 1, "test")
    pool.put(0)
    pool.put(2)
    pool.close()
    assert done == [0.5]
    assert "ZeroDivisionError" in caplog.text


def test_one_thread_may_take_several_but_never_another_ones_end() -> None:
    """Even while it closes: every thread ends."""
    taken: list[int] = []

    def work(item: int) -> None:
        taken.append(item)
        while True:
            try:
                taken.append(pool.take(60))
            except Empty:
                return

    pool: Pool[int] = Pool(work, 3, "test")
    for item in range(100):
        pool.put(item)
    pool.close()
    assert sorted(taken) == list(range(100))
    with pytest.raises(Unavailable, match="closed"):
        pool.put(1)
