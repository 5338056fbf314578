"""Collections as Parquet and back; bad rows fail alone, torn files are named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extractor import vector_files
from extractor.collections import Item, tables
from extractor.collections.exchange import Imported, RowError, export, import_file
from extractor.collections.filters import Filter
from extractor.collections.item import FileStamp
from extractor.collections.store import Meta, Store, store_path
from extractor.errors import DamagedFile, FingerprintMismatch, InvalidArgument, InvalidImage, NotFound
from extractor.results import Result
from extractor.settings import DataFolder
from tests.extractor.collections.making import DIM, ONE, OTHER, item

DIGEST = hashlib.sha256(b"x").digest()
STAMP = FileStamp("/photos/é.jpg", 12, 2**60)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that every file here is of several."""
    monkeypatch.setattr(tables, "BLOCK", 3)


def opened(data: DataFolder, name: str) -> Store:
    path = store_path(data, name)
    return Store(path) if path.exists() else Store.create(path, Meta(ONE, DIM, "lite0"))


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    with closing(opened(data, "cats")) as store:
        yield store


@pytest.fixture
def other(data: DataFolder) -> Iterator[Store]:
    with closing(opened(data, "others")) as store:
        yield store


def content(store: Store) -> list[tuple[Any, ...]]:
    with store.reading() as reader:
        return [
            (entry.id, entry.vector.tolist(), entry.digest, entry.file, entry.label, entry.metadata)
            for entry in reader.entries(vectors=True)
            if entry.vector is not None
        ]


def run(store: Store, path: Path, *, replace: bool = True) -> tuple[Imported, list[RowError]]:
    told: list[RowError] = []
    return import_file(store, path, told.append, replace=replace), told


def full(number: int) -> Item:
    vector = np.array([number + 1, 0.1, -1e-9, 1], np.float32)
    return Item(f"é{number}", vector, DIGEST, STAMP, "cat", {"n": number, "deep": {"x": [1, None]}})


# --- there and back -----------------------------------------------------------


def test_what_is_exported_can_be_imported(store: Store, other: Store, tmp_path: Path) -> None:
    """Every bit of the vectors, digests, labels, metadata and files, in the same order."""
    store.put([*map(full, range(7)), item("plain", 1, 0, 0, 0)])
    assert export(store, tmp_path / "out" / "a.parquet") == 8
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.parquet"]
    assert run(other, tmp_path / "out" / "a.parquet") == (Imported(rows=8, added=8), [])
    assert content(other) == content(store)


def test_an_export_is_a_plain_parquet_file(store: Store, tmp_path: Path) -> None:
    """With columns of the usual types, for whatever else reads Parquet."""
    store.put([full(0), item("plain", 1, 0, 0, 0)])
    export(store, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.metadata[b"fingerprint"].decode() == ONE
    assert table.schema.metadata[b"backbone"] == b"lite0"
    assert table.schema.field("embeddings").type == pa.list_(pa.float32(), DIM)
    rows = table.to_pylist()
    assert rows[0]["metadata"] == '{"n":0,"deep":{"x":[1,null]}}'
    assert (rows[0]["labels"], rows[0]["sources"], rows[0]["mtimes_ns"]) == ("cat", "/photos/é.jpg", 2**60)
    assert rows[0]["digests"] == DIGEST.hex()
    assert (rows[1]["labels"], rows[1]["sources"], rows[1]["sizes"]) == (None, None, None)


def test_a_part_of_a_collection_is_exported(store: Store, tmp_path: Path) -> None:
    store.put(map(full, range(7)))
    assert export(store, tmp_path / "a.parquet", Filter.parse("n >= 5")) == 2
    assert pq.read_table(tmp_path / "a.parquet")["ids"].to_pylist() == ["é5", "é6"]


def test_an_empty_collection_is_an_empty_file(store: Store, other: Store, tmp_path: Path) -> None:
    assert export(store, tmp_path / "a.parquet") == 0
    assert run(other, tmp_path / "a.parquet") == (Imported(), [])


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_embed_writes_can_be_imported(store: Store, tmp_path: Path, suffix: str) -> None:
    """The images that failed there fail here, alone, with the same reason."""
    path = tmp_path / f"vectors{suffix}"
    with vector_files.writing(path, fingerprint=ONE, dim=DIM) as writer:
        for number in range(7):
            vector = np.arange(DIM, dtype=np.float32) + number
            writer.add(f"{number}.jpg", Result(vector, None, DIGEST, False, ONE))
            if number == 4:
                writer.add("bad.jpg", Result(None, InvalidImage("cut short"), None, False, ONE))
    done, told = run(store, path)
    assert (done.rows, done.added, done.failed) == (8, 7, 1)
    assert told == [RowError(5, "bad.jpg", "cut short")]
    assert [row[0] for row in content(store)] == [f"{number}.jpg" for number in range(7)]
    assert content(store)[6][1:3] == ([6, 7, 8, 9], DIGEST)


def test_items_that_are_there_are_replaced_or_refused(store: Store, other: Store, tmp_path: Path) -> None:
    store.put(map(full, range(4)))
    export(store, tmp_path / "a.parquet")
    other.put([item("é1", 1, 1, 1, 1)])
    assert run(other, tmp_path / "a.parquet", replace=False)[0] == Imported(rows=4, added=3, refused=1)
    assert content(other)[0][1] == [1, 1, 1, 1]
    other.remove(["é0"])
    assert run(other, tmp_path / "a.parquet")[0] == Imported(rows=4, added=1, replaced=3)
    assert content(other) == content(store)


def test_an_interrupted_import_ends_when_it_is_run_again(
    store: Store, other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that were written stay; none is there by halves."""
    store.put(map(full, range(8)))
    export(store, tmp_path / "a.parquet")
    put, calls = other.put, list[int]()

    def interrupted(items: Any, **options: bool) -> list[str]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return put(items, **options)

    with monkeypatch.context() as patch:
        patch.setattr(other, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(other, tmp_path / "a.parquet")
    assert content(other) == content(store)[:6]
    run(other, tmp_path / "a.parquet")
    assert content(other) == content(store)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_vectors_that_are_all_of_another_width_are_one_fact(
    store: Store, tmp_path: Path, suffix: str
) -> None:
    """Of the file; not one of each of its rows."""
    path = tmp_path / f"vectors{suffix}"
    with vector_files.writing(path, fingerprint=ONE, dim=100) as writer:
        for name in ("a", "b"):
            writer.add(name, Result(np.ones(100, np.float32), None, DIGEST, False, ONE))
    with pytest.raises(InvalidArgument, match=r"the vectors of .* have 100 values; those .* have 4"):
        run(store, path)
    assert content(store) == []


# --- what is wrong with rows -------------------------------------------------------


def parquet(path: Path, fingerprint: str | None = ONE, **columns: Any) -> Path:
    facts = {"fingerprint": fingerprint} if fingerprint else None
    pq.write_table(pa.table(columns).replace_schema_metadata(facts), path)
    return path


def test_bad_rows_fail_alone_and_are_named(store: Store, tmp_path: Path) -> None:
    """None shifts the others' vectors or labels."""
    good = [1.0, 2.0, 3.0, 4.0]
    rows: list[tuple[Any, Any, Any, Any, Any, str]] = [
        ("a", good, "x", None, None, ""),
        (None, good, None, None, None, "the id None is no text"),
        ("", good, None, None, None, "must not be empty"),
        ("short", good[:3], None, None, None, "a vector of 3 values; those of the collection have 4"),
        ("none", None, None, None, None, "the row has no vector"),
        ("zero", [0.0] * 4, None, None, None, "zero"),
        ("hole", [1.0, None, 3.0, 4.0], None, None, None, "not finite"),
        ("b", [2.0, 3.0, 4.0, 5.0], "y", '{"w": 1}', DIGEST.hex().upper(), ""),
        ("text", good, None, "{", None, "the metadata is no JSON"),
        ("deep", good, None, "[" * 5000, None, "the metadata is no JSON"),
        ("list", good, None, "[1]", None, "must be a JSON object"),
        ("nan", good, None, '{"a": NaN}', None, "nan is no JSON value"),
        ("digest", good, None, None, "abc", "is not the 32 bytes of SHA-256"),
        ("long", good, "x" * 2000, None, None, "label"),
        ("c", [3.0, 4.0, 5.0, 6.0], "z", "", "", ""),
    ]
    ids, vectors, labels, metadata, digests, reasons = zip(*rows, strict=True)
    path = parquet(
        tmp_path / "a.parquet",
        ids=pa.array(ids, pa.string()),
        embeddings=pa.array(vectors, pa.list_(pa.float64())),
        labels=pa.array(labels, pa.string()).dictionary_encode(),
        metadata=pa.array(metadata, pa.string()),
        digests=pa.array(digests, pa.string()),
    )
    done, told = run(store, path)
    wrong = [row for row, reason in enumerate(reasons) if reason]
    assert [error.row for error in told] == wrong
    for error in told:
        assert error.id == (ids[error.row] or "")
        assert reasons[error.row] in error.reason
    assert (done.rows, done.added, done.failed) == (len(rows), 3, len(wrong))
    assert [(row[0], row[1][0], row[4], row[5]) for row in content(store)] == [
        ("a", 1, "x", {}),
        ("b", 2, "y", {"w": 1}),
        ("c", 3, "z", {}),
    ]


# --- what is wrong with files --------------------------------------------------------


def test_vectors_of_another_backbone_are_refused(store: Store, tmp_path: Path) -> None:
    """Before anything is written."""
    path = parquet(tmp_path / "a.parquet", OTHER, ids=["a"], embeddings=[[1.0] * 4])
    with pytest.raises(
        FingerprintMismatch,
        match=r"^the file .*'cats' is of lite0: import into one of another name",
    ):
        run(store, path)
    assert content(store) == []


@pytest.mark.parametrize(
    ("columns", "fingerprint", "reason"),
    [
        ({"ids": ["a"]}, ONE, "has no column 'embeddings'; it has: ids"),
        ({"x": ["a"]}, ONE, "has no column 'ids' and no column 'embeddings'"),
        ({"ids": ["a"], "embeddings": [[1.0] * 4]}, None, "does not say of which backbone"),
        ({"ids": ["a"], "embeddings": ["1 2 3 4"]}, ONE, "holds string, not lists of numbers"),
        ({"ids": ["a"], "embeddings": [[1, 2, 3, 4]]}, ONE, "holds lists of int64, not of floats"),
    ],
)
def test_a_parquet_file_that_holds_something_else_is_refused(
    store: Store, tmp_path: Path, columns: dict[str, Any], fingerprint: str | None, reason: str
) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        run(store, parquet(tmp_path / "a.parquet", fingerprint, **columns))


VECTORS = np.eye(4, dtype=np.float32)
IDS = np.array(list("abcd"))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"ids": IDS, "fingerprint": ONE}, "no column 'embeddings'"),
        ({"ids": IDS, "embeddings": VECTORS}, "does not say of which backbone"),
        ({"ids": IDS[:2], "embeddings": VECTORS, "fingerprint": ONE}, "as long as one another"),
        ({"ids": IDS, "embeddings": VECTORS[0], "fingerprint": ONE}, "of two dimensions"),
        ({"ids": np.arange(4), "embeddings": VECTORS, "fingerprint": ONE}, "'ids' .* of type int64"),
        ({"ids": IDS.astype(object), "embeddings": VECTORS, "fingerprint": ONE}, "'ids' .* of type object"),
        ({"ids": IDS, "embeddings": np.asfortranarray(VECTORS[:3].T), "fingerprint": ONE}, "cannot be used"),
        ({"ids": IDS, "embeddings": VECTORS, "fingerprint": [ONE]}, "must be a single text"),
    ],
)
def test_an_npz_file_that_holds_something_else_is_refused(
    store: Store, tmp_path: Path, arrays: dict[str, Any], reason: str
) -> None:
    """Pickles included, of which not a byte is loaded."""
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises(InvalidArgument, match=reason):
        run(store, tmp_path / "a.npz")


def test_an_npz_file_of_another_precision_and_of_more_columns_is_read(store: Store, tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz",
        ids=IDS,
        embeddings=VECTORS.astype(">f8"),
        fingerprint=ONE,
        labels=np.array(["x", "", "y", ""]),
        other=np.zeros(9),
    )
    run(store, tmp_path / "a.npz")
    assert [(row[0], row[1], row[4]) for row in content(store)] == [
        (id, vector, label)
        for id, vector, label in zip("abcd", VECTORS.tolist(), ["x", None, "y", None], strict=True)
    ]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("part", ["half", "nothing", "text"])
def test_a_file_that_is_not_whole_is_damaged(store: Store, tmp_path: Path, suffix: str, part: str) -> None:
    path = written(tmp_path, suffix)
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "nothing": b"", "text": b"no " * 1000}[part])
    with pytest.raises(DamagedFile, match="make it anew"):
        run(store, path)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_flipped_bit_is_never_imported(store: Store, tmp_path: Path, suffix: str) -> None:
    """What was read before it has been added; it is as it was written."""
    path = written(tmp_path, suffix)
    good = path.read_bytes()
    vector = np.float32(41.25).tobytes()
    place = good.index(vector)
    path.write_bytes(good[:place] + bytes([vector[0] ^ 1]) + good[place + 1 :])
    with pytest.raises(DamagedFile):
        run(store, path)
    assert all(row[1] == [float(row[0]) + 0.25] * DIM for row in content(store))


def written(folder: Path, suffix: str) -> Path:
    """A file of 50 rows, number n of the values n + 0.25."""
    path = folder / f"a{suffix}"
    ids, vectors = [str(n) for n in range(50)], np.repeat(np.arange(50, dtype=np.float32) + 0.25, DIM)
    if suffix == ".npz":
        np.savez(path, ids=np.array(ids), embeddings=vectors.reshape(-1, DIM), fingerprint=ONE)
        return path
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors), DIM)
    table = pa.table({"ids": ids, "embeddings": lists}).replace_schema_metadata({"fingerprint": ONE})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    return path


def test_a_file_that_cannot_be_read_or_written_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no such file: .*missing\.npz"):
        run(store, tmp_path / "missing.npz")
    with pytest.raises(InvalidArgument, match=r"must end in \.parquet or \.npz"):
        run(store, tmp_path / "a.csv")
    with pytest.raises(InvalidArgument, match=r"must end in \.parquet"):
        export(store, tmp_path / "a.npz")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match=r"cannot write .*a\.parquet"):
        export(store, tmp_path / "file" / "a.parquet")


def test_a_damaged_item_stops_an_export(store: Store, tmp_path: Path) -> None:
    """Rather than leave it out in silence; no file appears."""
    store.put(map(full, range(4)))
    with store.writing() as db:
        db.execute("DELETE FROM vectors WHERE number = 3")
    with pytest.raises(DamagedFile, match="item 'é2' has no vector"):
        export(store, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ids", pa.array([7])),
        ("digests", pa.array([b"x" * 32])),
        ("metadata", pa.array([{"a": 1}])),
        ("labels", pa.array([1])),
        ("sizes", pa.array([1.5])),
        ("mtimes_ns", pa.array([1], pa.timestamp("ns"))),
    ],
)
def test_a_column_of_another_type_is_refused_before_anything_is_added(
    store: Store, tmp_path: Path, name: str, values: Any
) -> None:
    """As other tools write them: the error names the column and the type."""
    vectors = pa.array([[1.0, 2, 3, 4]], pa.list_(pa.float32()))
    table = pa.table({"ids": pa.array(["a"]), "embeddings": vectors} | {name: values})
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({"fingerprint": ONE}), path)
    with pytest.raises(InvalidArgument, match=f"the column '{name}' of .* is of type"):
        run(store, path)
    assert content(store) == []


def test_columns_of_nothing_or_of_a_dictionary_are_texts_as_well(store: Store, tmp_path: Path) -> None:
    """So pandas writes them."""
    table = pa.table(
        {
            "ids": pa.array(["a"]).dictionary_encode(),
            "embeddings": pa.array([[1.0, 2, 3, 4]], pa.list_(pa.float32())),
            "labels": pa.nulls(1),
        }
    )
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({"fingerprint": ONE}), path)
    assert run(store, path) == (Imported(1, 1), [])
