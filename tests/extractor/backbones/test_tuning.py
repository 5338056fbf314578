"""What is measured of a machine decides the schedule, and is remembered for that machine alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from extractor import images
from extractor.backbones import measured, tuning
from extractor.backbones.bundle import Bundle
from extractor.backbones.measured import Measured, Measurements
from extractor.backbones.schedule import Schedule, Tuning
from extractor.backbones.session import Numerics, Session
from extractor.backbones.tuning import Effort, choose, glance, measure, open_tuned, tune
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder

CPU = Numerics("cpu", "fp32")
PICTURES = [np.zeros((4, 4, 3), np.uint8)] * 3


def row(batch: int, parallel: int, rate: float, p50: float = 0.005, share: float = 1.0) -> Measured:
    return Measured(batch, parallel, rate, p50, 2 * p50, share)


class Machine:
    """Stands for a processor: says how long a run takes, and notes which were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds) -> None:
        self._seconds = seconds
        self.sizes: list[int] = []
        monkeypatch.setattr(tuning, "_timed", self._timed)

    def _timed(self, run, batch: Sequence, parallel: int, seconds: float) -> tuple[list[float], float]:
        run(batch)
        one = self._seconds(len(batch), parallel)
        return [one] * 10 * parallel, 10 * one

    def open(self, size: int):
        self.sizes.append(size)

        def run(batch: Sequence) -> None:
            assert len(batch) == size

        return run

    def measure(self, parallel: Sequence[int] = (1, 2), bound: float = 0.05) -> list[Measured]:
        return measure(self.open, PICTURES, parallel, bound, Effort(passes=1))


def test_where_batches_are_slower_one_image_a_run_is_chosen_on_all_cores(monkeypatch) -> None:
    """As on a CPU; the measuring ends at the first size that is clearly slower."""
    machine = Machine(monkeypatch, lambda size, parallel: 0.005 * size**1.2)
    best = choose(machine.measure(), 0.05)
    assert best.schedule == Schedule(1, 2)
    assert best.images_per_second == pytest.approx(400)
    assert machine.sizes == [1, 2]


def test_where_a_run_costs_the_same_whatever_its_size_the_largest_under_the_bound_is_chosen(
    monkeypatch,
) -> None:
    """As on a GPU; parallel runs take turns there, so one is enough."""
    machine = Machine(monkeypatch, lambda size, parallel: (0.004 + 0.0005 * size) * parallel)
    table = machine.measure((1, 2, 4))
    assert choose(table, 0.05).schedule == Schedule(64, 1)
    assert choose(table, 0.013).schedule == Schedule(16, 1)


def test_a_size_that_is_too_late_is_the_last(monkeypatch) -> None:
    """Larger ones would be later still."""
    machine = Machine(monkeypatch, lambda size, parallel: 0.02 + 0.001 * size)
    machine.measure(bound=0.025)
    assert machine.sizes == [1, 2, 4, 8]


def test_what_cannot_be_run_ends_the_measuring(monkeypatch, caplog) -> None:
    """As when a GPU's memory is full: the smaller sizes were measured all the same."""
    machine = Machine(monkeypatch, lambda size, parallel: 0.004)

    def open_run(size: int):
        if size > 4:
            raise MemoryError("the device is full")
        return machine.open(size)

    table = measure(open_run, PICTURES, (1,), 0.05, Effort(passes=2))
    assert [line.batch_size for line in table] == [1, 2, 4]
    assert "batches of 8 cannot be run: the device is full" in caplog.text


def test_a_bad_moment_does_not_count(monkeypatch) -> None:
    """Each pair is measured several times, apart; the best is what the machine can do."""
    slow_once = iter([5])
    machine = Machine(monkeypatch, lambda size, parallel: 0.005 * size**1.2 * next(slow_once, 1))
    table = measure(machine.open, PICTURES, (1,), 0.05, Effort(passes=3))
    assert table[0].images_per_second == pytest.approx(200)


def test_ties_go_to_the_smaller_batch_and_then_to_fewer_runs() -> None:
    """A few percent are noise; a larger batch costs latency."""
    table = [row(1, 1, 197), row(1, 2, 200), row(4, 1, 203), row(8, 2, 206)]
    assert choose(table, 0.05).schedule == Schedule(1, 1)
    assert choose([*table, row(16, 2, 260)], 0.05).schedule == Schedule(16, 2)


def test_when_nothing_is_under_the_bound_the_fastest_run_is_taken() -> None:
    """A bound that cannot be kept is kept as well as can be."""
    assert choose([row(1, 1, 10, 0.2), row(8, 1, 40, 0.3)], 0.05).schedule == Schedule(1, 1)


def test_runs_are_really_at_once() -> None:
    """Three runs meet, or none would end."""
    meeting = threading.Barrier(3)
    times, elapsed = tuning._timed(lambda _: meeting.wait(10), PICTURES, 3, 0.0)
    assert len(times) == 3
    assert 0 < max(times) <= elapsed


def measured_as(monkeypatch: pytest.MonkeyPatch, *table: Measured) -> list[int]:
    """Let measuring give this table; a number is added to the result each time."""
    calls: list[int] = []

    def stand_in(*_: object) -> list[Measured]:
        calls.append(len(calls))
        return list(table)

    monkeypatch.setattr(tuning, "measure", stand_in)
    return calls


def opened(bundle: Bundle, data: DataFolder, how: Tuning) -> Schedule:
    session, cosine = open_tuned(bundle, data, *CPU, how)
    assert cosine > 0.9999
    return session.schedule


def test_it_is_measured_once_and_remembered(bundle, data, monkeypatch) -> None:
    """A restart takes what is remembered; who never measures takes it too."""
    calls = measured_as(monkeypatch, row(1, 2, 100), row(4, 2, 200))
    assert opened(bundle, data, Tuning(measure="never")) == Schedule.usual("cpu")
    assert opened(bundle, data, Tuning(measure="once")) == Schedule(4, 2)
    assert opened(bundle, data, Tuning(measure="once")) == Schedule(4, 2)
    assert opened(bundle, data, Tuning(measure="never")) == Schedule(4, 2)
    assert len(calls) == 1
    assert opened(bundle, data, Tuning(measure="always")) == Schedule(4, 2)
    assert len(calls) == 2


def test_what_is_told_is_neither_measured_nor_remembered(bundle, data, monkeypatch) -> None:
    """The rest is the usual."""
    calls = measured_as(monkeypatch, row(4, 2, 200))
    usual = Schedule.usual("cpu")
    assert opened(bundle, data, Tuning(batch_size=6, measure="once")) == Schedule(6, usual.parallel)
    assert opened(bundle, data, Tuning(parallel=1, measure="always")) == Schedule(usual.max_batch, 1)
    assert not calls
    assert not data.tuning.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        json.dumps({"format": 1, "table": [{"batch_size": 4}]}).encode(),
    ],
)
def test_a_damaged_file_is_measured_anew(bundle, data, monkeypatch, content: bytes) -> None:
    """Whatever is there instead is replaced."""
    calls = measured_as(monkeypatch, row(4, 2, 200))
    opened(bundle, data, Tuning(measure="once"))
    (file,) = data.tuning.iterdir()
    file.write_bytes(content)
    assert opened(bundle, data, Tuning(measure="once")) == Schedule(4, 2)
    assert len(calls) == 2
    assert Measurements(data, bundle, 0.05).read(CPU) == [row(4, 2, 200)]


@pytest.mark.parametrize("change", [{"batch_size": -4}, {"parallel": 10**9}, {"p50": float("nan")}, {"x": 1}])
def test_figures_that_cannot_be_are_no_measurement(bundle, data, monkeypatch, change: dict) -> None:
    """A file that somebody edited starts nothing strange."""
    kept = Measurements(data, bundle, 0.05)
    kept.write(CPU, [row(4, 2, 200)])
    (file,) = data.tuning.iterdir()
    facts = json.loads(file.read_text())
    facts["table"][0].update(change)
    file.write_text(json.dumps(facts))
    assert kept.read(CPU) == []


def test_another_machine_is_measured_for_itself(bundle, data, monkeypatch) -> None:
    """Also when its file is taken for this one's: the circumstances are in it."""
    kept = Measurements(data, bundle, 0.05)
    kept.write(CPU, [row(4, 2, 200)])
    (file,) = data.tuning.iterdir()
    monkeypatch.setattr(measured, "_processor", lambda _: "another processor")
    assert kept.read(CPU) == []
    kept.write(CPU, [row(8, 2, 300)])
    (other,) = set(data.tuning.iterdir()) - {file}
    other.write_bytes(file.read_bytes())
    assert kept.read(CPU) == []


def test_another_bound_is_measured_for_itself(bundle, data) -> None:
    """Measuring ends at the bound, so a wider one would not know more."""
    Measurements(data, bundle, 0.05).write(CPU, [row(4, 2, 200)])
    assert Measurements(data, bundle, 0.1).read(CPU) == []


def test_where_it_cannot_be_written_it_is_measured_at_each_start(bundle, data, monkeypatch, caplog) -> None:
    """And the choice holds all the same."""
    calls = measured_as(monkeypatch, row(4, 2, 200))
    data.tuning.write_text("no folder")
    for _ in range(2):
        assert opened(bundle, data, Tuning(measure="once")) == Schedule(4, 2)
    assert len(calls) == 2
    assert "is not remembered" in caplog.text


def test_figures_of_a_busy_machine_are_not_taken(bundle, data, monkeypatch, caplog) -> None:
    """What another program did to them would be remembered for ever."""
    measured_as(monkeypatch, row(1, 2, 100), row(4, 2, 200, share=0.6))
    assert opened(bundle, data, Tuning(measure="once")) == Schedule.usual("cpu")
    assert not data.tuning.exists()
    assert "other work took a part of the processor" in caplog.text


def test_a_schedule_that_cannot_be_opened_leaves_the_one_that_works(
    bundle, data, monkeypatch, caplog
) -> None:
    """Tuning never keeps a service from starting."""
    measured_as(monkeypatch, row(4, 2, 200))
    prove = Session.prove

    def failing(self: Session, bundle: Bundle) -> float:
        if self.max_batch == 4:
            raise tuning.Unavailable("batches of 4 go wrong")
        return prove(self, bundle)

    monkeypatch.setattr(Session, "prove", failing)
    assert opened(bundle, data, Tuning(measure="once")) == Schedule.usual("cpu")
    assert "batches of 4 go wrong" in caplog.text


def test_a_real_network_is_measured(bundle, data) -> None:
    """One image a run is always in the table; the choice is a line of it, or the usual with the reason."""
    tuned = tune(bundle, CPU, Measurements(data, bundle, 0.05))
    assert {line.parallel for line in tuned.table if line.batch_size == 1} == set(tuning.parallels("cpu"))
    assert all(line.images_per_second > 0 and line.p99 >= line.p50 > 0 for line in tuned.table)
    assert data.tuning.exists() is (not tuned.trouble)
    assert tuned.schedule in [*(line.schedule for line in tuned.table), Schedule.usual("cpu")]


def test_a_glance_measures_a_session_as_it_is(bundle: Bundle, data: DataFolder) -> None:
    """Its batch size alone, with one run at a time and with as many as it has; nothing is remembered."""
    tuned = glance(Session(bundle, CPU, Schedule(4, 3)), bundle)
    assert (tuned.schedule, tuned.trouble) == (Schedule(4, 3), "")
    assert [line.schedule for line in tuned.table] == [Schedule(4, 1), Schedule(4, 3)]
    assert not data.tuning.exists()


def test_batches_give_what_single_images_give(bundle: Bundle) -> None:
    """On a CPU seven images in runs of four and one; every size was proved before."""
    session = Session(bundle, CPU, Schedule(4, 1))
    assert session.prove(bundle) > 0.9999
    pixels = [images.decode(item.image, bundle.manifest.preprocessing) for item in bundle.golden()][:7]
    single = Session(bundle, CPU)
    for one, other in zip(session.run(pixels), single.run(pixels), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, (1,)), (2, (1, 2)), (8, (1, 2, 8)), (32, (1, 2, 8, 32)), (12, (1, 3, 12))],
)
def test_few_batch_sizes_are_prepared(largest: int, sizes: tuple[int, ...]) -> None:
    """A quarter each, down to one."""
    assert Schedule(largest, 1).sizes == sizes


def test_images_are_run_where_they_were_decoded_only_if_nothing_is_held_back(monkeypatch) -> None:
    """Fewer runs than cores, or larger ones, need a queue; more would not be so many without one."""
    monkeypatch.setattr("extractor.backbones.schedule.cores", lambda: 4)
    assert Schedule(1, 4).direct
    assert not Schedule(1, 3).direct
    assert not Schedule(1, 6).direct
    assert not Schedule(2, 4).direct


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"parallel": -1}, {"max_delay": -0.1}, {"latency_bound": float("nan")}]
)
def test_what_is_told_has_limits(wrong: dict) -> None:
    """They are named."""
    with pytest.raises(InvalidArgument, match="is from"):
        Tuning(**wrong)
