"""The batcher answers every item, each on its own account."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor.batching import Batcher, Direct, Ran, compute
from extractor.errors import Unavailable


def submit(
    batcher: Batcher[int, int] | Direct[int, int], item: int, wanted: Callable[[], bool] = lambda: True
) -> Future[Any]:
    """A future of what `done` is told, which is told once."""
    future: Future[Any] = Future()

    def done(outcome: Ran[int] | BaseException) -> None:
        if isinstance(outcome, Ran):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    batcher.submit(item, done, wanted)
    return future


class Recorder:
    """Doubles its items; refuses a batch that holds a negative one; remembers the sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if any(item < 0 for item in items):
            raise ArithmeticError(f"cannot double {min(items)}")
        return [2 * item for item in items]


class Gate:
    """Holds the first call until it is opened, so that a queue gathers behind it."""

    def __init__(self, run) -> None:
        self._run = run
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.entered.set()
        assert self.open.wait(10)
        return self._run(items)


@settings(deadline=None, max_examples=50)
@given(
    items=st.lists(st.integers(-3, 50), max_size=60), max_batch=st.integers(1, 9), workers=st.integers(1, 3)
)
def test_only_the_culprits_fail(items: list[int], max_batch: int, workers: int) -> None:
    """Whatever is joined with whatever, each item gets its own answer or its own error."""
    batcher = Batcher(Recorder(), max_batch=max_batch, workers=workers)
    futures = [submit(batcher, item) for item in items]
    batcher.close()
    for item, future in zip(items, futures, strict=True):
        if item < 0:
            with pytest.raises(ArithmeticError, match=f"cannot double {item}"):
                future.result(0)
        else:
            assert future.result(0).output == 2 * item


def test_what_waits_is_joined_up_to_the_batch_size() -> None:
    """Behind a busy worker items gather into full batches."""
    recorder = Recorder()
    gate = Gate(recorder)
    batcher = Batcher(gate, max_batch=4, workers=1)
    futures = [submit(batcher, 0)]
    assert gate.entered.wait(10)
    futures += [submit(batcher, item) for item in range(1, 10)]
    gate.open.set()
    batcher.close()
    assert [future.result(0).output for future in futures] == [2 * item for item in range(10)]
    assert recorder.sizes == [1, 4, 4, 1]


def test_an_item_whose_caller_left_is_not_run() -> None:
    """No longer wanted: dropped before its turn, and nobody is told."""
    recorder = Recorder()
    gate = Gate(recorder)
    batcher = Batcher(gate, max_batch=1, workers=1)
    first = submit(batcher, 1)
    assert gate.entered.wait(10)
    unwanted, good = submit(batcher, 3, wanted=lambda: False), submit(batcher, 4)
    gate.open.set()
    batcher.close()
    assert (first.result(0).output, good.result(0).output) == (2, 8)
    assert recorder.sizes == [1, 1]
    assert not unwanted.done()


@pytest.mark.parametrize("direct", [True, False])
def test_a_fault_in_one_answer_keeps_no_other_from_its_own(
    direct: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is done with an outcome is no concern of the batch: it is logged, and the next is told."""
    recorder = Recorder()
    batcher = Direct(recorder) if direct else Batcher(recorder, max_batch=2, workers=1, max_delay=60)

    def fault(outcome: Ran[int] | BaseException) -> None:
        raise KeyError("nobody expects this")

    batcher.submit(1, fault)
    assert submit(batcher, 2).result(10).output == 4
    batcher.close()
    assert "nobody expects this" in caplog.text


def test_a_run_with_too_few_outputs_is_an_error_not_a_shift() -> None:
    """An output that is missing never gives an item its neighbour's answer."""
    batcher: Batcher[int, int] = Batcher(lambda items: [7] * (len(items) - 1), max_batch=4, workers=1)
    futures = [submit(batcher, item) for item in range(4)]
    batcher.close()
    for future in futures:
        assert isinstance(future.exception(0), ValueError)


def test_after_close_nothing_is_accepted() -> None:
    """Closing finishes what was accepted and refuses the rest."""
    batcher = Batcher(Recorder(), max_batch=2, workers=2)
    accepted = submit(batcher, 5)
    batcher.close()
    batcher.close()
    assert accepted.result(0).output == 10
    with pytest.raises(Unavailable, match="closed"):
        submit(batcher, 6)


def test_direct_answers_as_a_batcher_does() -> None:
    """In the caller's thread: its own answer, its own error, nothing for nobody."""
    recorder = Recorder()
    direct: Direct[int, int] = Direct(recorder)
    assert submit(direct, 4).result(0).output == 8
    assert isinstance(submit(direct, -1).exception(0), ArithmeticError)
    assert compute(direct, 6).output == 12
    with pytest.raises(ArithmeticError):
        compute(direct, -6)
    assert not submit(direct, 5, wanted=lambda: False).done()
    assert recorder.sizes == [1, 1, 1, 1]


def test_a_batch_may_wait_for_more() -> None:
    """With `max_delay` a lone item waits for company, but not for ever; each is told what it met."""
    recorder = Recorder()
    batcher = Batcher(recorder, max_batch=3, workers=1, max_delay=60)
    futures = [submit(batcher, item) for item in range(3)]  # a full batch goes at once
    ran = [future.result(10) for future in futures]
    assert recorder.sizes == [3]
    assert [(item.output, item.batch_size) for item in ran] == [(0, 3), (2, 3), (4, 3)]
    assert all(item.queue >= 0 and item.inference >= 0 for item in ran)
    batcher.close()
    short = Batcher(recorder, max_batch=3, workers=1, max_delay=0.05)
    alone = submit(short, 1).result(10)
    assert alone.batch_size == 1
    assert alone.queue >= 0.05
    short.close()


def test_whatever_a_run_raises_the_workers_live_on() -> None:
    """Even what is no Exception: the item has it, and the next one is answered."""

    def exits(items: Sequence[int]) -> list[int]:
        if items[0] < 0:
            raise SystemExit("out of here")
        return list(items)

    batcher = Batcher(exits, max_batch=1, workers=1)
    with pytest.raises(SystemExit):
        submit(batcher, -1).result(10)
    assert submit(batcher, 1).result(10).output == 1
    assert batcher.alive
    batcher.close()
    assert not batcher.alive
