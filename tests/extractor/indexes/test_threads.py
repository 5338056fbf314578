"""Work cut into parts that share the cores."""

import gc
import threading
import time
import weakref

import pytest

from extractor.indexes import threads as module
from extractor.indexes.threads import cores, each, ranges


def test_results_come_in_the_order_of_the_parts() -> None:
    assert each(lambda part: part * part, range(100)) == [part * part for part in range(100)]
    assert each(len, []) == []


def test_what_fails_is_raised_where_it_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        each(lambda part: 1 // part, [1, 0, 2])
    assert each(lambda part: part, [1, 2]) == [1, 2]


def test_ranges_cover_everything_once() -> None:
    covered = [place for part in ranges(1001, 10) for place in range(1001)[part]]

    assert covered == list(range(1001))
    assert all(part.stop - part.start >= 10 for part in ranges(1001, 10))
    assert ranges(5, 10) == [slice(0, 5)]


def test_a_caller_with_little_work_does_not_wait_for_one_with_much() -> None:
    """Else the last parts of the one would wait for the other for ever, and it for them."""
    begun, asked, answered = (threading.Event() for _ in range(3))
    waited: list[bool] = []

    def much(part: int) -> None:
        begun.set()
        if part < cores():
            waited.append(asked.wait(60))
        if part >= 1000 - cores():
            waited.append(answered.wait(60))

    long = threading.Thread(target=each, args=(much, range(1000)))
    short = threading.Thread(target=each, args=(lambda _: answered.set(), [0]))
    long.start()
    assert begun.wait(60)
    short.start()
    while not module._threads()._work_queue.qsize():
        time.sleep(0.001)
    asked.set()
    long.join()
    short.join()
    assert waited == [True] * (2 * cores())


def test_nothing_is_held_afterwards() -> None:
    """No cycle keeps mapped files until the collector comes by."""

    class Held:
        def __call__(self, part: int) -> int:
            return part

    gc.disable()
    try:
        work = Held()
        gone = weakref.ref(work)
        each(work, range(10))
        del work
        each(int, range(10))  # the threads let go of their last part with the next
        assert gone() is None
    finally:
        gc.enable()
