"""Files of vectors hold every row in order, appear whole or not at all, and say whose vectors they are."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from extractor.errors import InvalidArgument, InvalidImage
from extractor.results import Result
from extractor.vector_files import LONGEST_ERROR, writing

FINGERPRINT = "ab" * 32


def good(number: int) -> Result:
    return Result(np.full(4, number, np.float32), None, bytes([number] * 32), False, FINGERPRINT)


def bad(reason: str) -> Result:
    return Result(None, InvalidImage(reason), None, False, FINGERPRINT)


def read(file: Path) -> dict[str, Any]:
    if file.suffix == ".npz":
        return dict(np.load(file, allow_pickle=False))
    table = pq.read_table(file)
    columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    columns["embeddings"] = columns["embeddings"].reshape(-1, 4)
    return {**columns, "fingerprint": table.schema.metadata[b"fingerprint"].decode()}


@pytest.fixture(params=[".npz", ".parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "deep" / f"vectors{request.param}"


def test_rows_keep_their_order_and_their_errors(file: Path) -> None:
    """A failed image is a row of NaN in its place, with its reason."""
    with writing(file, fingerprint=FINGERPRINT, dim=4) as rows:
        rows.add("a.jpg", good(1))
        rows.add("b.jpg", bad("empty"))
        rows.add("ü.jpg", good(2))
    found = read(file)
    assert found["ids"].tolist() == ["a.jpg", "b.jpg", "ü.jpg"]
    assert found["digests"].tolist() == ["01" * 32, "", "02" * 32]
    assert found["ok"].tolist() == [True, False, True]
    assert found["error"].tolist() == ["", "empty", ""]
    assert found["fingerprint"] == FINGERPRINT
    np.testing.assert_array_equal(found["embeddings"], [[1] * 4, [np.nan] * 4, [2] * 4])
    assert found["embeddings"].dtype == np.float32 or file.suffix == ".parquet"


def test_more_rows_than_one_group(tmp_path: Path) -> None:
    """Groups of rows join without a seam."""
    file = tmp_path / "many.parquet"
    with writing(file, fingerprint=FINGERPRINT, dim=4) as rows:
        for number in range(9000):
            rows.add(str(number), good(number % 250))
    assert pq.read_table(file)["ids"].to_pylist() == [str(number) for number in range(9000)]


def test_no_rows_make_an_empty_file(file: Path) -> None:
    """An empty file has its columns and its fingerprint."""
    with writing(file, fingerprint=FINGERPRINT, dim=4):
        pass
    assert len(read(file)["ids"]) == 0


def test_an_interrupted_file_never_appears(file: Path) -> None:
    """What was there stays, and no draft is left."""
    file.parent.mkdir()
    file.write_bytes(b"the former one")

    def interrupted() -> None:
        with writing(file, fingerprint=FINGERPRINT, dim=4) as rows:
            rows.add("a", good(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_bytes() == b"the former one"
    assert list(file.parent.iterdir()) == [file]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """The message names the two that are known."""
    with (
        pytest.raises(InvalidArgument, match=r"must end in \.npz or \.parquet"),
        writing(tmp_path / "x.csv", fingerprint=FINGERPRINT, dim=4),
    ):
        pass


def test_any_name_and_reason_can_be_written(file: Path) -> None:
    """Also those of a file whose name is not UTF-8 and goes over two lines."""
    name = b"a\xff\nb.png".decode("utf-8", "surrogateescape")
    with writing(file, fingerprint=FINGERPRINT, dim=4) as rows:
        rows.add(name, bad(f"no such file: {name}"))
    found = read(file)
    assert found["ids"].tolist() == [r"a\xff\nb.png"]
    assert found["error"].tolist() == [r"no such file: a\xff\nb.png"]


def test_one_long_reason_does_not_make_every_row_long(tmp_path: Path) -> None:
    """It is cut, and the blanks of the other rows take no room on disk."""
    file = tmp_path / "vectors.npz"
    with writing(file, fingerprint=FINGERPRINT, dim=4) as rows:
        for number in range(9000):
            rows.add(f"{number}.jpg", good(number % 250))
        rows.add("bad.jpg", bad("long " * 1000))
    found = read(file)
    assert found["error"][-1] == ("long " * 1000)[:LONGEST_ERROR]
    assert found["ids"].tolist() == [*(f"{number}.jpg" for number in range(9000)), "bad.jpg"]
    assert file.stat().st_size < 600_000 < found["error"].nbytes


def test_a_full_disk_is_one_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the path that was asked for and the way out; what was there stays."""
    file.parent.mkdir()
    file.write_bytes(b"the former one")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "as some library puts it")

    monkeypatch.setattr(Path, "replace", full)
    with (
        pytest.raises(InvalidArgument, match=rf"cannot write {file}: No space left on device; .*--out$"),
        writing(file, fingerprint=FINGERPRINT, dim=4) as rows,
    ):
        rows.add("a", good(1))
    assert file.read_bytes() == b"the former one"
    assert list(file.parent.iterdir()) == [file]
