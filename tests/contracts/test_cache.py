"""What every cache does, and what the one on disk does besides."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from extractor.caches import Cache, Row, key
from extractor.caches.lmdb import LmdbCache
from extractor.caches.memory import MemoryCache
from extractor.errors import Unavailable

FINGERPRINT = "ab" * 32


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def row(number: int, numerics: str = "cpu/fp32") -> Row:
    return Row(numerics, np.full(5, number, np.float32))


@pytest.fixture(params=["memory", "lmdb"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    cache: Cache = MemoryCache() if request.param == "memory" else LmdbCache(tmp_path / "cache")
    yield cache
    cache.close()


def test_what_was_put_is_found_at_once(cache: Cache) -> None:
    """Rows come back in the order of the keys, with None for what is not there."""
    rows = {key(FINGERPRINT, digest(number)): row(number) for number in range(3)}
    cache.put_many(rows)
    wanted = [key(FINGERPRINT, digest(number)) for number in (2, 9, 0)]
    for _ in range(2):
        found = cache.get_many(wanted)
        assert found[1] is None
        assert [entry.vector[0] for entry in found if entry] == [2, 0]
        assert found[0] is not None
        assert found[0].numerics == "cpu/fp32"
        cache.flush()


def test_two_backbones_never_share_a_row(cache: Cache) -> None:
    """The same image under another fingerprint is another key."""
    cache.put_many({key(FINGERPRINT, digest(1)): row(1)})
    assert cache.get_many([key("cd" * 32, digest(1))]) == [None]


def test_a_later_row_replaces_an_earlier_one(cache: Cache) -> None:
    """The last one wins, before and after it is written."""
    for numerics in ("openvino/bf16", "cpu/fp32"):
        cache.put_many({key(FINGERPRINT, digest(1)): row(1, numerics)})
        cache.flush()
    (found,) = cache.get_many([key(FINGERPRINT, digest(1))])
    assert found is not None
    assert found.numerics == "cpu/fp32"


@given(arrays(np.float32, st.integers(0, 40)), st.text("abc/123", max_size=20))
def test_a_row_survives_its_bytes(vector: np.ndarray, numerics: str) -> None:
    """to_bytes and from_bytes are inverse, NaN and infinities included."""
    found = Row.from_bytes(b"key", Row(numerics, vector).to_bytes(b"key"))
    assert found is not None
    assert found.numerics == numerics
    np.testing.assert_array_equal(found.vector, vector)


@given(st.integers(0, 30), st.integers(1, 255))
def test_a_flipped_bit_is_a_miss(position: int, flip: int) -> None:
    """Damage anywhere in a record is noticed."""
    record = bytearray(row(3).to_bytes(b"key"))
    record[position % len(record)] ^= flip
    assert Row.from_bytes(b"key", bytes(record)) is None


def test_a_row_of_another_key_is_a_miss() -> None:
    """As when a damaged file leads from one key to another one's row, whole as that may be."""
    assert Row.from_bytes(b"one", row(3).to_bytes(b"other")) is None


def test_memory_forgets_the_least_recently_used() -> None:
    """Beyond its capacity the row that was not asked for leaves first."""
    cache = MemoryCache(capacity=2)
    keys = [key(FINGERPRINT, digest(number)) for number in range(3)]
    cache.put_many({keys[0]: row(0), keys[1]: row(1)})
    cache.get_many([keys[0]])
    cache.put_many({keys[2]: row(2)})
    assert [entry is not None for entry in cache.get_many(keys)] == [True, False, True]


def test_disk_remembers_across_openings(tmp_path: Path) -> None:
    """Closing flushes; another opening finds it; two openings in one process share."""
    first, second = LmdbCache(tmp_path / "cache"), LmdbCache(tmp_path / "cache")
    first.put_many({key(FINGERPRINT, digest(1)): row(1)})
    assert second.get_many([key(FINGERPRINT, digest(1))]) != [None]
    first.close()
    second.close()
    third = LmdbCache(tmp_path / "cache")
    assert third.get_many([key(FINGERPRINT, digest(1))]) != [None]
    third.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from extractor.caches import Row, key
from extractor.caches.lmdb import LmdbCache
cache = LmdbCache(Path(sys.argv[1]))
number = 0
while True:
    numbers = range(number, number + 50)
    cache.put_many({key("ab" * 32, n.to_bytes(32, "big")): Row("cpu/fp32", np.full(5, n, "f4"))
                    for n in numbers})
    cache.flush()
    number += 50
    print(number, flush=True)
"""


def test_disk_survives_kill_9(tmp_path: Path) -> None:
    """Every row that was flushed before the kill is there, whole."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "cache")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(5):
        flushed = int(child.stdout.readline())
    child.kill()
    flushed = int((child.communicate()[0].split() or [flushed])[-1])
    cache = LmdbCache(tmp_path / "cache")
    found = cache.get_many([key(FINGERPRINT, digest(number)) for number in range(flushed)])
    cache.close()
    assert [entry.vector[0] for entry in found if entry] == list(range(flushed))


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_cache_is_set_aside(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is named in the log, kept, and a new one begun: rows can be computed again."""
    folder = tmp_path / "cache"
    cache = LmdbCache(folder)
    cache.put_many({key(FINGERPRINT, digest(number)): row(number) for number in range(2000)})
    cache.close()
    content = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(content[:20_000] if damage == "cut" else b"\x55" * len(content))
    cache = LmdbCache(folder)
    cache.put_many({key(FINGERPRINT, digest(1)): row(1)})
    cache.flush()
    assert cache.get_many([key(FINGERPRINT, digest(n)) for n in (1, 2)])[1] is None
    cache.close()
    assert "set aside" in caplog.text
    assert len(list(tmp_path.glob("cache-damaged-*"))) == 1


CUTTER = """
import os, shutil, sys
from pathlib import Path
import numpy as np
from extractor.caches import Row, key
from extractor.caches.lmdb import LmdbCache
keys = [key("ab" * 32, os.urandom(32)) for _ in range(1000)]
rows = {key: Row("cpu/fp32", np.full(5, n, "f4")) for n, key in enumerate(keys)}
whole = LmdbCache(Path(sys.argv[1]) / "whole")
for begin in range(0, 1000, 100):
    whole.put_many({key: rows[key] for key in keys[begin : begin + 100]})
    whole.flush()
whole.close()
for length in np.linspace(0, (Path(sys.argv[1]) / "whole" / "data.mdb").stat().st_size, 40, dtype=int):
    folder = Path(sys.argv[1]) / f"cut-{length}"
    shutil.copytree(Path(sys.argv[1]) / "whole", folder)
    os.truncate(folder / "data.mdb", length)
    cut = LmdbCache(folder)
    for found in (cut.get_many(keys), cut.put_many(rows), cut.flush(), cut.put_many(rows), cut.flush()):
        assert all(row is None or row.vector[0] == n for n, row in enumerate(found or ()))
    assert all(cut.get_many(keys)), length
    cut.close()
print("done")
"""


def test_a_cache_cut_at_any_length_is_begun_anew(tmp_path: Path) -> None:
    """In a process of its own: LMDB ends the process where it meets what it thinks impossible."""
    child = subprocess.run(
        [sys.executable, "-c", CUTTER, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert child.stdout == "done\n", child.stderr


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """The error names the folder."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file/cache cannot be opened"):
        LmdbCache(tmp_path / "file" / "cache")


def test_closing_twice_leaves_others_alone(tmp_path: Path) -> None:
    """A second close of one never closes the cache under another."""
    first, second = LmdbCache(tmp_path / "cache"), LmdbCache(tmp_path / "cache")
    first.close()
    first.close()
    second.put_many({key(FINGERPRINT, digest(1)): row(1)})
    second.flush()
    assert second.get_many([key(FINGERPRINT, digest(1))]) != [None]
    second.close()


def test_who_reads_on_while_it_closes_finds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As threads of a command do that was interrupted: no failure of the cache, and nothing to be told of."""
    cache = LmdbCache(tmp_path / "cache")
    cache.put_many({key(FINGERPRINT, digest(1)): row(1)})
    cache.close()

    assert cache.get_many([key(FINGERPRINT, digest(1))]) == [None]
    assert (cache.failures, caplog.text) == (0, "")


def test_a_full_disk_is_an_error_not_a_bus_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock file's room is taken before LMDB maps it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        LmdbCache(tmp_path / "cache")


def test_a_row_that_cannot_be_written_never_stops_the_writer(tmp_path: Path) -> None:
    """Whatever goes wrong in one commit, flush returns and the next rows are kept."""
    cache = LmdbCache(tmp_path / "cache")
    cache.put_many({b"x" * 600: row(1)})  # longer than any key of LMDB
    cache.flush()
    cache.put_many({key(FINGERPRINT, digest(1)): Row("x" * 300, row(1).vector)})  # no such numerics
    cache.flush()
    cache.put_many({key(FINGERPRINT, digest(2)): row(2)})
    cache.flush()
    assert cache.get_many([key(FINGERPRINT, digest(2))]) != [None]
    cache.close()


def test_pages_that_were_never_used_are_no_damage(tmp_path: Path) -> None:
    """A whole file that ends before its last page number says is kept."""
    cache = LmdbCache(tmp_path / "cache")
    cache.put_many({key(FINGERPRINT, digest(1)): row(1)})
    cache.close()
    file = tmp_path / "cache" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole.rstrip(b"\0"))
    cache = LmdbCache(tmp_path / "cache")
    (found,) = cache.get_many([key(FINGERPRINT, digest(1))])
    cache.close()
    assert found is not None
    assert not list(tmp_path.glob("cache-damaged-*"))
