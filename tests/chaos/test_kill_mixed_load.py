"""`kill -9` of a process that adds, replaces, deletes, changes, searches, builds and saves, all at once."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from extractor.collections.store import Store, store_path
from extractor.collections.verify import verify
from extractor.settings import DataFolder
from tests.chaos.mixed_load import Model, held, opened, queries, write


class Run(NamedTuple):
    """Where a killed process has come to: the model after what it acknowledged, and the next write."""

    model: Model
    begin: int


def work_until_killed(data: DataFolder, run: Run, moments: random.Random) -> Run:
    """Kill it as it starts, or a moment after some writes; what it said is what it acknowledged."""
    command = [sys.executable, "-m", "tests.chaos.mixed_load", str(data.root), str(run.begin)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(pickle.dumps(run.model))
        child.stdin.close()
        said = b"".join(child.stdout.readline() for _ in range(moments.choice((0, 1, 10, 30, 60))))
        time.sleep(moments.random() * 0.05)  # the moment itself is what varies: nothing is waited for
        child.kill()
        said += child.stdout.read()
        complaints = child.stderr.read().decode()
    assert (child.returncode, complaints) == (-9, "")
    numbers = [int(line) for line in said.split(b"\n")[:-1]]
    assert numbers == list(range(run.begin, run.begin + len(numbers)))
    for number in numbers:
        write(number)(run.model)
    return Run(run.model, run.begin + len(numbers))


def settled(data: DataFolder, run: Run) -> Run:
    """All that was acknowledged is there, and what was not is there whole or not at all."""
    if not store_path(data, "c").exists():
        assert not run.model
        return run
    with opened(data) as collection:
        there = held(collection)
    with closing(Store.find(data, "c")) as store:
        assert verify(store).sound
    if list(there.items()) == list(run.model.items()):
        return run
    write(run.begin)(run.model)
    assert list(there.items()) == list(run.model.items())
    return run._replace(begin=run.begin + 1)


def check_index(data: DataFolder, run: Run, caplog: pytest.LogCaptureFixture) -> int:
    """The index that was saved is whole, and finds what the judge finds; return its segments."""
    with opened(data) as collection:
        saved = collection.info().index.segments
        run.model.check(collection, queries(run.begin))
    assert not caplog.records
    return saved


def outlives(data: DataFolder, kills: int, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    run, moments, segments = Run(Model(), 0), random.Random(seed), 0
    for _ in range(kills):
        run = settled(data, work_until_killed(data, run, moments))
        segments += check_index(data, run, caplog)
    assert run.model, "nothing was ever written, so nothing was tested"
    assert segments, "no index was ever saved, so none was tested"


def test_whatever_is_acknowledged_survives_a_kill(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Again and again on one collection: store, index and searches are those of the model."""
    outlives(DataFolder(tmp_path), 8, 1, caplog)


@pytest.mark.slow
def test_whatever_is_acknowledged_survives_a_hundred_kills(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On ten collections, ten times each."""
    for seed in range(10):
        outlives(DataFolder(tmp_path / str(seed)), 10, seed, caplog)
