from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.data.matrices import is_matrix, read_matrix
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.results import Result
from extractor.vector_files import writing

X = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
Y = ["cat", "dog"] * 3


def parquet(path: Path, vectors: list, **columns: list) -> Path:
    pq.write_table(pa.table({"embeddings": vectors, **columns}), path)
    return path


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


def test_a_plain_matrix_of_any_embedding_is_read(tmp_path: Path) -> None:
    features, origin = read_matrix(npz(tmp_path / "m.npz", X=X.astype("f8"), y=Y))
    assert np.array_equal(features.X, X)
    assert features.y.tolist() == Y
    assert features.images[0] == f"{tmp_path}/m.npz, row 1"
    assert origin == "m.npz"


def test_both_kinds_of_file_say_the_same(tmp_path: Path) -> None:
    more = {"ids": list("uvwxyz"), "group": ["g", "g", "", "", "", ""], "weight": [1, 2, 1, 1, 1, 1]}
    one, _ = read_matrix(npz(tmp_path / "m.npz", embeddings=X, labels=Y, **more))
    other, _ = read_matrix(parquet(tmp_path / "m.parquet", X.tolist(), labels=Y, **more))
    for features in (one, other):
        assert np.array_equal(features.X, X)
        assert features.images == list("uvwxyz")
        assert features.groups[0] == features.groups[1]
        assert features.weights.tolist() == [1, 2, 1, 1, 1, 1]
    assert one.fingerprint == other.fingerprint


def test_what_has_no_fingerprint_gets_one_of_its_own(tmp_path: Path) -> None:
    """So that two embeddings are never taken for one."""
    one, _ = read_matrix(npz(tmp_path / "a.npz", X=X, y=Y))
    other, _ = read_matrix(npz(tmp_path / "b.npz", X=2 * X, y=Y))
    named, _ = read_matrix(npz(tmp_path / "c.npz", X=X, y=Y, fingerprint="f" * 64))
    assert len({one.fingerprint, other.fingerprint, named.fingerprint}) == 3
    assert named.fingerprint == "f" * 64


def test_files_of_embeddings_need_only_labels(tmp_path: Path) -> None:
    """As `penultimate embed --out` writes them; failed rows are left out with their reasons."""
    with writing(tmp_path / "e.npz", fingerprint="f" * 64, dim=4) as writer:
        for row in range(6):
            failed = Exception("no picture") if row == 2 else None
            vector = None if failed else X[row]
            writer.add(f"{row}.png", Result(vector, failed, bytes([row] * 32), False, "f" * 64))
    with np.load(tmp_path / "e.npz") as written:
        np.savez(tmp_path / "l.npz", labels=np.array(Y), **dict(written))
    features, _ = read_matrix(tmp_path / "l.npz")
    assert features.images == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert [(each.image, each.reason) for each in features.rejected] == [("2.png", "no picture")]
    assert features.digests[1] == "01" * 32
    assert features.fingerprint == "f" * 64


def test_rows_that_cannot_be_used_are_listed_with_reasons(tmp_path: Path) -> None:
    bad = X.copy()
    bad[1, 2], bad[4] = np.nan, np.inf
    features, _ = read_matrix(
        npz(tmp_path / "m.npz", X=bad, y=["a", "a", "", "b", "b", "b"], weight=[1, 1, 1, 1, 1, -1])
    )
    assert [each.reason for each in features.rejected] == [
        "it has values that are not finite",
        "it has no label",
        "it has values that are not finite",
        "its weight must be a number above 0, not '-1'",
    ]
    assert np.array_equal(features.X, X[[0, 3]])


@pytest.mark.filterwarnings("error")
def test_values_too_large_for_float32_are_not_finite(tmp_path: Path) -> None:
    wide = X.astype("f8")
    wide[2, 1] = 1e300
    features, _ = read_matrix(npz(tmp_path / "m.npz", X=wide, y=Y))
    assert [each.reason for each in features.rejected] == ["it has values that are not finite"]
    assert len(features.X) == 5


def test_a_digest_that_is_not_said_is_that_of_the_vector(tmp_path: Path) -> None:
    said = ["ab" * 32, *[""] * 5]
    texts, _ = read_matrix(npz(tmp_path / "t.npz", X=X, y=Y, digest=said))
    raw, _ = read_matrix(npz(tmp_path / "b.npz", X=X, y=Y, digest=np.array(said, "S64")))
    columns = {"labels": Y, "digest": [text or None for text in said]}
    table, _ = read_matrix(parquet(tmp_path / "m.parquet", X.tolist(), **columns))
    for features in (texts, raw, table):
        assert features.digests[0] == "ab" * 32
        assert len(set(features.digests.tolist())) == 6


def test_rows_of_another_width_are_listed(tmp_path: Path) -> None:
    rows = [*X[:5].tolist(), [1.0, 2.0]]
    features, _ = read_matrix(parquet(tmp_path / "m.parquet", [*rows, None], labels=[*Y, "cat"]))
    assert [each.reason for each in features.rejected] == [
        "it has 2 values and the widest 4",
        "it has no vector and the widest 4",
    ]
    assert len(features.X) == 5


def test_labels_that_are_numbers_are_names(tmp_path: Path) -> None:
    features, _ = read_matrix(npz(tmp_path / "m.npz", X=X, y=[0, 1, 2, 0, 1, 2]))
    assert features.y.tolist() == ["0", "1", "2"] * 2


def test_several_labels_become_a_matrix(tmp_path: Path) -> None:
    texts = ["a|b", "b", "|", "a", "c|a", "c"]
    features, _ = read_matrix(npz(tmp_path / "m.npz", X=X, y=texts), multi_label=True)
    assert features.classes == ("a", "b", "c")
    assert features.y.sum(axis=0).tolist() == [3, 2, 2]
    assert features.texts == ["a|b", "b", "|", "a", "a|c", "c"]
    lists = [text.strip("|").split("|") if text != "|" else [] for text in texts]
    table, _ = read_matrix(parquet(tmp_path / "m.parquet", X.tolist(), labels=lists), multi_label=True)
    assert table.texts == features.texts


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": X}, "needs embeddings and labels; it has: X"),
        ({"y": Y}, "has no embeddings"),
        ({"X": X, "y": Y[:5]}, "has 6 embeddings, and labels of shape"),
        ({"X": X[0], "y": Y}, "must be a matrix of numbers"),
        ({"X": X.astype(str), "y": Y}, "must be a matrix of numbers"),
        ({"X": X[:, :0], "y": Y}, "must be a matrix of numbers"),
        ({"X": X[:0], "y": Y[:0]}, "there is no row to fit on"),
        ({"X": X, "y": np.array(Y, dtype=object)}, r"Python objects, .* labels.astype\(str\)"),
        ({"X": X, "y": Y, "digests": ["ab"]}, "has 6 embeddings, and digests of shape"),
        ({"X": X, "y": Y, "split": ["train"] * 5 + [""]}, "says of 5 rows whether"),
        ({"X": X, "y": Y, "split": ["train"] * 5 + ["fold 2"]}, "'fold 2' is none of train, val, test"),
    ],
)
def test_a_file_that_is_no_labelled_matrix_is_refused(tmp_path: Path, arrays: dict, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        read_matrix(npz(tmp_path / "m.npz", **arrays))


def test_torn_files_are_refused(tmp_path: Path) -> None:
    npz(tmp_path / "p.npz", X=X, y=Y)
    (tmp_path / "t.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:99])
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    (tmp_path / "junk.npz").write_bytes(b"abc")
    (tmp_path / "empty.npz").touch()
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, X)
    for name in ("t", "junk", "empty", "one"):
        with pytest.raises(DamagedFile, match=rf"{name}\.npz .* a zip archive of arrays, and this is none"):
            read_matrix(tmp_path / f"{name}.npz")
    with pytest.raises(DamagedFile, match=r"t\.parquet"):
        is_matrix(tmp_path / "t.parquet")
    with pytest.raises(NotFound):
        read_matrix(tmp_path / "none.npz")


def test_a_table_of_paths_is_no_matrix(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"], "label": ["b"]}), tmp_path / "t.parquet")
    assert not is_matrix(tmp_path / "t.parquet")
    assert not is_matrix(tmp_path / "t.csv")
    assert is_matrix(parquet(tmp_path / "m.parquet", X.tolist(), labels=Y))
