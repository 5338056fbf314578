from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from classifiers.store.records import FILE, Rows, at_hand
from extractor.errors import DamagedFile, NotFound


def rows(*paths: str) -> Rows:
    n = len(paths)
    return Rows(list(paths), [f"{at:064}" for at in range(n)], ["kirsebær"] * n, ["train"] * n)


@pytest.mark.parametrize("name", ["/a/ø, «1».png", "/a/b\udcff\n.png"])
def test_every_name_that_a_file_can_have_comes_back(tmp_path: Path, name: str) -> None:
    rows("/plain.png", name).write(tmp_path / FILE)
    assert Rows.read(tmp_path).paths == ["/plain.png", name]
    assert Rows.read(tmp_path).labels == ["kirsebær"] * 2


def test_the_table_is_text_for_other_tools(tmp_path: Path) -> None:
    rows("/a.png").write(tmp_path / FILE)
    table = pq.read_table(tmp_path / FILE)
    assert table.column_names == ["path", "digest", "label", "split"]
    assert table["path"].to_pylist() == ["/a.png"]


def test_a_version_without_its_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"has no rows.parquet: the head was not fitted by `fit-head`"):
        Rows.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"junk", b"PAR1"])
def test_a_damaged_table_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DamagedFile, match=r"rows.parquet is damaged"):
        Rows.read(tmp_path)


def test_rows_whose_file_is_gone_are_named(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    present, missing = at_hand(rows(str(tmp_path / "there.png"), str(tmp_path / "gone.png")))
    assert present == [0]
    assert [(each.image, each.reason) for each in missing] == [(str(tmp_path / "gone.png"), "it is gone")]
