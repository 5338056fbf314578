"""Reading a collection for exploring: all of one moment, in order, on disk when it is much."""

import errno
import os

import numpy as np
import pytest

from extractor.errors import InvalidArgument, NotFound
from extractor.exploring import rows as rows_
from extractor.exploring.rows import read_rows

VECTORS = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)


def test_rows_are_the_items_in_order(read) -> None:
    """Ids, labels and digests too; vectors have length one."""
    rows = read(VECTORS[:3], [b"a" * 32, b"", b"c" * 31 + b"\0"], ["x", None, "x"], ["one", "zwei ü", "3"])
    assert len(rows) == 3
    assert [rows.id(place) for place in (2, 0, 1)] == ["3", "one", "zwei ü"]
    assert [rows.label(place) for place in range(3)] == ["x", None, "x"]
    assert rows.digests.tolist() == [b"a" * 32, b"", b"c" * 31]
    lengths = np.linalg.norm(VECTORS[:3], axis=1, keepdims=True)
    np.testing.assert_allclose(rows.tile(0, 10), VECTORS[:3] / lengths, rtol=1e-6)
    np.testing.assert_array_equal(rows.at(np.array([2, 0])), rows.tile(0, 3)[[2, 0]])


def test_what_is_on_disk_is_read_as_what_is_in_memory(read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many vectors leave the memory; nothing else changes."""
    near = read(VECTORS)
    monkeypatch.setattr(rows_, "IN_MEMORY", 10_000)
    far = read(VECTORS)
    assert far._units._rolled
    np.testing.assert_array_equal(np.concatenate(list(far.tiles(700))), np.concatenate(list(near.tiles(700))))
    assert [far.id(place) for place in (0, 2999)] == ["0", "2999"]


def test_an_empty_collection_is_said(shelve) -> None:
    """With what to do."""
    with pytest.raises(NotFound, match="is empty: add images with `penultimate index shelf0 PATH"):
        read_rows(shelve([]))


def test_a_full_disk_is_one_sentence(shelve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says where, and how to choose another place."""
    shelf = shelve(VECTORS[:3])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rows_.Rows, "append", full)
    with pytest.raises(InvalidArgument, match=r"No space left on device; .*TMPDIR in the environment"):
        read_rows(shelf)


def test_ctrl_c_leaves_the_collection_as_it_was(shelve) -> None:
    """Its transaction is over: it can be written and read at once."""
    shelf = shelve(VECTORS)

    def interrupted(items, total, doing, unit=""):
        for number, item in enumerate(items):
            if number == 1500:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        read_rows(shelf, interrupted)
    assert shelf.delete(["0"]) == 1
    with read_rows(shelf) as rows:
        assert len(rows) == 2999
