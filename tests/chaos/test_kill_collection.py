"""`kill -9` while a collection is written: what was acknowledged is there, and nothing by halves."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection
from extractor.settings import DataFolder

WRITER = """
import sys, numpy as np
from pathlib import Path
from extractor.collections import Collection, Item
from extractor.settings import DataFolder

data, begin = DataFolder(Path(sys.argv[1])), int(sys.argv[2])
with Collection.open_or_create(data, "c", fingerprint="f", dim=64, backbone="b") as collection:
    for batch in range(begin, 10**6):
        vectors = np.random.default_rng(batch).standard_normal((20, 64), np.float32)
        collection.add(Item(f"{batch}-{n}", vector) for n, vector in enumerate(vectors))
        print("added", batch, flush=True)
        if batch % 3 == 2:
            collection.delete(f"{batch - 1}-{n}" for n in range(20))
            print("deleted", batch - 1, flush=True)
"""


def write_until_killed(data: DataFolder, begin: int, lines: int) -> list[tuple[str, int]]:
    """Let a process write, kill it after some lines, and return all that it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data.root), str(begin)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    said = [child.stdout.readline() for _ in range(lines)]
    child.kill()
    said += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    return [(word, int(batch)) for word, batch in (line.split() for line in said if line.endswith("\n"))]


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    """Again and again on one collection; batches are whole, vectors right, and search sees them all."""
    data = DataFolder(tmp_path)
    moments = random.Random(seed)
    added: set[int] = set()
    deleted: set[int] = set()
    begin = 0
    for kills in range(1, 5):
        acknowledged = write_until_killed(data, begin, moments.randrange(0, 12))
        added |= {batch for word, batch in acknowledged if word == "added"}
        deleted |= {batch for word, batch in acknowledged if word == "deleted"}
        check(data, added, deleted, kills)
        begin = max(added, default=begin) + 2
    assert added, "no batch was ever acknowledged, so nothing was tested"


def check(data: DataFolder, added: set[int], deleted: set[int], kills: int) -> None:
    if not added and not (data.collections / "c" / "items.sqlite").exists():
        return
    with Collection.open(data, "c") as collection:
        there = {batch for batch in range(max(added, default=0) + 3) if whole(collection, batch)}
        assert not there & deleted
        # at each kill one deletion may be on disk that the process had no time to tell
        assert len(added - deleted - there) <= kills
        assert all(batch % 3 == 1 for batch in added - deleted - there)
        assert len(collection) == 20 * len(there)
        assert len(collection.search(np.ones((1, 64)), 10**6)[0]) == len(collection)


def whole(collection: Collection, batch: int) -> bool:
    """Whether a batch is there; with all of its items as they were written, or with none."""
    known = [collection.known(f"{batch}-{number}") is not None for number in range(20)]
    assert len(set(known)) == 1
    if known[0]:
        vectors = np.random.default_rng(batch).standard_normal((20, 64), np.float32)
        assert all(
            np.array_equal(collection.get(f"{batch}-{number}").vector, vector)
            for number, vector in enumerate(vectors)
        )
    return known[0]
