"""A process that does everything with a collection for which there is, again and again, no room.

Each step is tried with a little more room each time, so that it fails at every place where it writes. It may
fail in a sentence only, changes nothing then, and succeeds when there is room again.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import numpy as np

from extractor.cli.outcomes import reporting
from extractor.collections import Collection, Filed, Item
from extractor.collections.backup import backup, restore
from extractor.collections.exchange import export, import_file
from extractor.collections.store import Store
from extractor.collections.verify import verify
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from tests.chaos.mixed_load import DIM, Model, held, opened, queries

Full = Callable[[int], AbstractContextManager[None]]
"""Leaves so many bytes of room, until the block ends."""

WAY_OUT = ("Make room", "Free some space")


@contextmanager
def limit(room: int) -> Iterator[None]:
    """No file may grow over so many bytes, as under a quota: EFBIG."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def filler(folder: Path) -> Full:
    """A file takes the room of the small disk on which `folder` is: ENOSPC."""

    @contextmanager
    def full(room: int) -> Iterator[None]:
        file = folder / "filler"
        free = os.statvfs(folder)
        file.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - room)))
        try:
            yield
        finally:
            file.unlink()

    return full


class Trial:
    """A collection, what it should hold, and a disk that fills up at will."""

    def __init__(self, folder: Path, full: Full) -> None:
        self.data, self.out, self.full = DataFolder(folder / "data"), folder / "out", full
        self.out.mkdir()
        self.model = Model()
        self.next = 0

    def items(self, count: int = 40) -> list[Item]:
        """Others at each call, with thumbnails."""
        self.next += 1
        draw = np.random.default_rng(self.next)
        rows = draw.standard_normal((count, DIM), np.float32)
        return [
            Item(f"{self.next}-{n}", row, label="red", thumbnail=draw.bytes(1500))
            for n, row in enumerate(rows)
        ]

    def fails_whole(self, step: Callable[[], object], rooms: range) -> int:
        """Try a step with ever more room; how often it failed. In the end it succeeds."""
        failures = 0
        for room in rooms:
            with self.full(room):
                failures += not succeeds(step)
            self.check()
        step()
        self.check()
        return failures

    def check(self) -> None:
        """What was acknowledged is there, and nothing else; no draft is left."""
        with opened(self.data) as collection:
            assert held(collection) == self.model
            self.model.check(collection, queries(self.next))
        with closing(Store.find(self.data, "c")) as store:
            assert verify(store).sound
        left = [path for path in self.out.iterdir() if path.name.startswith(".") and path.name != ".lock"]
        assert not left, left


def succeeds(step: Callable[[], object]) -> bool:
    try:
        step()
    except PenultimateError as error:
        said = str(error)
    else:
        return True
    assert any(way in said for way in WAY_OUT), said
    return False


def add(trial: Trial) -> int:
    """Commits, through a connection that stays open and through a new one."""
    with opened(trial.data) as kept:

        def step() -> None:
            items = trial.items()
            (kept if trial.next % 2 else collection).add(items)
            trial.model.add(items)

        with opened(trial.data) as collection:
            return trial.fails_whole(step, range(0, 320_000, 16_000))


def change(trial: Trial) -> int:
    with opened(trial.data) as collection:

        def step() -> None:
            trial.next += 1
            ids = list(trial.model)[::2]
            collection.set(ids, metadata={"n": "x" * 500, "m": trial.next})
            trial.model.set(ids, metadata={"n": "x" * 500, "m": trial.next})

        return trial.fails_whole(step, range(0, 200_000, 16_000))


def delete(trial: Trial) -> int:
    with opened(trial.data) as collection:

        def step() -> None:
            ids = list(trial.model)[::7]
            collection.delete(ids)
            trial.model.delete(ids)

        return trial.fails_whole(step, range(0, 100_000, 16_000))


def index(trial: Trial) -> int:
    """Segments, their manifests, and the manifest of all; searches are served meanwhile."""
    kinds = iter(("exact", "exact-fp16") * 50)

    def step() -> None:
        with opened(trial.data) as collection:
            try:
                collection.reindex({"kind": next(kinds)})
            finally:
                trial.model.check(collection, queries(trial.next))

    return trial.fails_whole(step, range(0, 100_000, 4_000))


def create(trial: Trial) -> int:
    """A new collection appears whole or not at all; what is tried again is not there yet."""

    def step() -> None:
        Collection.create(trial.data, f"new{trial.next}", fingerprint="f", dim=DIM, backbone="b").close()
        trial.next += 1

    return trial.fails_whole(step, range(0, 150_000, 10_000))


def copy(trial: Trial) -> int:
    def step() -> None:
        with closing(Store.find(trial.data, "c")) as store:
            assert backup(store, trial.out / "copy.sqlite").items == len(trial.model)

    return trial.fails_whole(step, range(0, 1_000_000, 50_000))


def bring_back(trial: Trial) -> int:
    def step() -> None:
        trial.next += 1
        name = f"again{trial.next}"
        try:
            restore(trial.data, name, trial.out / "copy.sqlite")
        except PenultimateError:
            assert not (trial.data.collections / name / "items.sqlite").exists()
            raise
        with Collection.open(trial.data, name) as collection:
            trial.model.check(collection, queries(trial.next))

    return trial.fails_whole(step, range(0, 600_000, 50_000))


def write_parquet(trial: Trial) -> int:
    def step() -> None:
        with closing(Store.find(trial.data, "c")) as store:
            assert export(store, trial.out / "c.parquet") == len(trial.model)

    return trial.fails_whole(step, range(0, 150_000, 8_000))


def read_parquet(trial: Trial) -> int:
    """An import that stops is run again."""

    def step() -> None:
        with (
            Collection.open_or_create(trial.data, "imported", fingerprint="f", dim=DIM, backbone="b"),
            closing(Store.find(trial.data, "imported")) as store,
        ):
            assert import_file(store, trial.out / "c.parquet", print).taken == len(trial.model)

    return trial.fails_whole(step, range(0, 320_000, 16_000))


def report(suffix: str) -> Callable[[Trial], int]:
    """The file that says what became of each image; an older one stays until the new one is whole."""

    def steps(trial: Trial) -> int:
        file = trial.out / f"report{suffix}"

        def step() -> None:
            before = file.read_bytes() if file.exists() else None
            try:
                with reporting(file, "full") as row:
                    for number in range(1000):
                        row(Filed(f"/images/{number}.jpg", "failed", error="it is no picture"))
            except PenultimateError:
                assert (file.read_bytes() if file.exists() else None) == before
                raise
            assert file.read_bytes().count(b"no picture") == 1000

        return trial.fails_whole(step, range(0, 120_000, 8_000))

    return steps


STEPS: dict[str, Callable[[Trial], int]] = {
    "add": add,
    "change": change,
    "delete": delete,
    "index": index,
    "create": create,
    "copy": copy,
    "restore": bring_back,
    "export": write_parquet,
    "import": read_parquet,
    "report.csv": report(".csv"),
    "report.json": report(".json"),
}


def main(kind: str, folder: str) -> None:
    place = Path(folder)
    trial = Trial(place, limit if kind == "limit" else filler(place))
    opened(trial.data).close()
    for name, step in STEPS.items():
        print(name, step(trial), flush=True)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(*sys.argv[1:])
