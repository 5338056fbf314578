"""A pool does every item it took, urgent ones first, whatever happens to one of them."""

import random
import sys
import threading
from queue import Empty, SimpleQueue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor.errors import Unavailable
from extractor.pool import Pool


@settings(deadline=None, max_examples=100)
@given(
    items=st.lists(st.tuples(st.integers(), st.sampled_from(["urgent", "other", "shared"])), max_size=60),
    at_once=st.integers(1, 3),
    spare=st.integers(0, 3),
    grown=st.integers(0, 60),
)
def test_every_item_is_done_once(items: list[tuple[int, str]], at_once: int, spare: int, grown: int) -> None:
    """Also those that are queued when it closes, and those that an item brings; never too many at once."""
    done: list[int] = []
    under_way, most, lock = 0, 0, threading.Lock()

    def work(entry: tuple[int, str]) -> None:
        nonlocal under_way, most
        item, kind = entry
        if kind == "shared":
            pool.share([(item, "other"), (item, "other")])
            return
        with lock:
            under_way += kind == "other"
            most = max(most, under_way)
        done.append(item)
        with lock:
            under_way -= kind == "other"

    pool: Pool[tuple[int, str]] = Pool(work, at_once, "test", spare=spare)
    for number, (item, kind) in enumerate(items):
        if number == grown:
            pool.grow(at_once + 1)
        pool.put((item, kind), urgent=kind != "other")
    pool.close()
    assert sorted(done) == sorted([item for item, kind in items for _ in range(1 + (kind == "shared"))])
    # What is shared while it closes is done wherever it is.
    assert most <= at_once + 1 or any(kind == "shared" for _, kind in items)
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


class Held(threading.Event):
    """Work that is held until it is set, and says in which threads it was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def work(self, item: str) -> None:
        self.begun.put((item, threading.current_thread().name))
        if not item.isupper():
            assert self.wait(10)

    def next(self) -> str:
        return self.begun.get(timeout=10)[0]


def test_spare_threads_do_what_is_urgent_and_nothing_else() -> None:
    """Others wait for room, also when their threads are free, until the pool grows."""
    held = Held()
    pool = Pool(held.work, 2, "test", spare=1)
    for item in "abcd":
        pool.put(item)
    assert {held.next(), held.next()} == {"a", "b"}
    for item in "EFG":
        pool.put(item, urgent=True)
        assert held.next() == item
    with pytest.raises(Empty):
        held.begun.get(timeout=0.05)
    pool.grow(3)
    assert held.next() == "c"
    held.set()
    pool.close()
    assert held.next() == "d"


def test_who_shares_does_the_first_where_there_is_room() -> None:
    """Else none; and all once the pool is closed, since what was accepted is finished first."""
    held = Held()
    pool = Pool(held.work, 2, "test", spare=1)
    pool.share(["A", "b", "c"])
    here = threading.current_thread().name
    began = dict(held.begun.get(timeout=10) for _ in range(3))
    assert [item for item, thread in began.items() if thread == here] == ["A"]
    pool.share(["D"])
    with pytest.raises(Empty):
        held.begun.get(timeout=0.05)
    held.set()
    assert held.next() == "D"
    pool.close()
    pool.share(["E", "F"])
    assert [held.begun.get(timeout=10) for _ in range(2)] == [("E", here), ("F", here)]


def test_nothing_that_is_shared_while_it_closes_is_lost() -> None:
    """Whichever thread comes to its end first: the interpreter changes threads at every turn."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for seed in range(500):
            _share_and_close(random.Random(seed))
    finally:
        sys.setswitchinterval(before)


def _share_and_close(draw: random.Random) -> None:
    done: list[int] = []

    def work(brings: int) -> None:
        if brings:
            pool.share([0] * brings)
        else:
            done.append(0)

    pool: Pool[int] = Pool(work, draw.randint(1, 3), "test", spare=draw.randint(1, 3))
    items = [draw.randint(0, 3) for _ in range(draw.randint(1, 40))]
    for item in items:
        pool.put(item, urgent=item > 0)
    pool.close()
    assert len(done) == sum(max(item, 1) for item in items)
