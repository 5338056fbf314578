"""Removing collections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from extractor.collections import Collection, Item
from extractor.collections.collection import names
from extractor.collections.dropping import drop
from extractor.errors import InvalidArgument, NotFound
from extractor.settings import DataFolder


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    data = DataFolder(tmp_path)
    for name in ("kept", "gone"):
        with Collection.create(data, name, fingerprint="ab", dim=3, backbone="b") as collection:
            collection.add([Item("a", np.ones(3, np.float32))])
    return data


def test_a_dropped_collection_is_gone_whole(data: DataFolder) -> None:
    """With all its files; others stay, and a new one of its name is empty."""
    drop(data, "gone")
    assert names(data) == ["kept"]
    assert [path.name for path in data.collections.iterdir() if path.is_dir()] == ["kept"]
    with Collection.create(data, "gone", fingerprint="ab", dim=3, backbone="b") as collection:
        assert len(collection) == 0


def test_what_is_not_there_cannot_be_dropped(data: DataFolder) -> None:
    """Nor what is no name."""
    with pytest.raises(NotFound, match="'nothing'"):
        drop(data, "nothing")
    with pytest.raises(InvalidArgument, match="cannot be the name"):
        drop(data, "../collections/kept")
    assert names(data) == ["gone", "kept"]


def test_who_has_it_open_can_read_on(data: DataFolder) -> None:
    """Until they open it again."""
    with Collection.open(data, "gone") as there:
        assert there.search([np.ones(3)])[0][0].id == "a"
        drop(data, "gone")
        assert there.search([np.ones(3)])[0][0].id == "a"
    with pytest.raises(NotFound):
        Collection.open(data, "gone")


def test_nothing_is_acknowledged_that_is_written_to_a_dropped_collection(data: DataFolder) -> None:
    """Nor is another of its name, made meanwhile, taken for it: each has what was written to it."""
    more = [Item("b", np.ones(3, np.float32))]
    with Collection.open(data, "gone") as there:
        drop(data, "gone")
        with pytest.raises(NotFound, match="dropped or replaced"):
            there.add(more)
        with pytest.raises(NotFound, match="dropped or replaced"):
            there.delete(["a"])
        with Collection.create(data, "gone", fingerprint="ab", dim=3, backbone="b") as new:
            with pytest.raises(NotFound, match="dropped or replaced"):
                there.add(more)
            with pytest.raises(NotFound, match="dropped or replaced"):
                len(there)
            assert len(new) == 0
            assert new.info().count == 0
            assert new.add(more) == []


def test_what_a_killed_process_left_of_a_drop_is_cleared_by_the_next(data: DataFolder) -> None:
    """And never listed as a collection."""
    rest = data.collections / ".gone-1234"
    rest.mkdir()
    (data.collections / "gone").rename(rest / "gone")
    assert names(data) == ["kept"]
    Collection.create(data, "gone", fingerprint="ab", dim=3, backbone="b").close()
    drop(data, "gone")
    assert not rest.exists()
