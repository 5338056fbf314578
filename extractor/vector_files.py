"""Files of embeddings for other tools: NumPy `.npz` and Parquet.

Both hold, in the order the images were given: `ids`, `digests` (hex, empty
when the file could not be read), `ok`, `error` (empty when ok, cut when very
long), `embeddings` (float32, a row of NaN where not ok), and the fingerprint
of the backbone, with the name that it goes by. Ids and errors are on one line, see `printable`.
Rows go to disk as they come; the file appears under its name only when whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.lib.format import write_array_header_1_0

from extractor.errors import InvalidArgument
from extractor.folders import publishing, refusals
from extractor.results import Result, Vector
from extractor.text import printable

SUFFIXES = (".npz", ".parquet")

LONGEST_ERROR = 200
"""Characters of a reason that are kept: NumPy makes every row of a column as wide as its longest."""

_GROUP = 4096


class Writer(Protocol):
    """Takes rows one at a time."""

    def add(self, id: str, result: Result) -> None:
        """Append a row."""
        ...

    def finish(self) -> None:
        """Write what is still in memory."""
        ...

    def close(self) -> None:
        """Close the file, finished or not."""
        ...


@contextmanager
def writing(path: Path, *, fingerprint: str, dim: int, backbone: str = "") -> Iterator[Writer]:
    """Open `path` for rows; it appears, whole, when the block ends without an error.

    Raises
    ------
    InvalidArgument
        When the suffix is neither `.npz` nor `.parquet`, the disk is full, or
        the place cannot be written.
    """
    kind = _kind(path)
    with refusals(path, "--out"), publishing(path) as draft:
        writer = kind(draft, {"fingerprint": fingerprint, "backbone": backbone}, dim)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


def checked_suffix(path: Path) -> None:
    """Raise InvalidArgument unless `path` ends in a kind of file we write."""
    if path.suffix not in SUFFIXES:
        raise InvalidArgument(f"{path} must end in {' or '.join(SUFFIXES)}: that chooses the kind of file")


def is_file_name(backbone: str) -> bool:
    """Whether what made some vectors is known by their file alone: then no image can be made one."""
    return Path(backbone).suffix.lower() in SUFFIXES


def _kind(path: Path) -> type[_NpzWriter] | type[_ParquetWriter]:
    checked_suffix(path)
    return _NpzWriter if path.suffix == ".npz" else _ParquetWriter


class _Columns:
    """The columns of some rows, but for the vectors."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.digests: list[str] = []
        self.ok: list[bool] = []
        self.error: list[str] = []

    def add(self, id: str, result: Result) -> None:
        self.ids.append(printable(id))
        self.digests.append(result.digest.hex() if result.digest else "")
        self.ok.append(result.ok)
        self.error.append(printable(result.error or "")[:LONGEST_ERROR])

    def texts(self) -> dict[str, list[str]]:
        return {"ids": self.ids, "digests": self.digests, "error": self.error}

    def as_dict(self) -> dict[str, list[Any]]:
        return {**self.texts(), "ok": self.ok}


class _NpzWriter:
    """Vectors go to a plain file beside the draft, which the end turns into one array."""

    def __init__(self, draft: Path, facts: dict[str, str], dim: int) -> None:
        self._draft, self._facts, self._dim = draft, facts, dim
        self._columns = _Columns()
        self._vectors = draft.with_suffix(".f32").open("w+b")

    def add(self, id: str, result: Result) -> None:
        self._columns.add(id, result)
        self._vectors.write(_row(result, self._dim).tobytes())

    def finish(self) -> None:
        self._vectors.flush()
        shape = (len(self._columns.ids), self._dim)
        embeddings = np.memmap(self._vectors, "<f4", "r", shape=shape) if shape[0] else np.empty(shape, "<f4")
        np.savez(
            self._draft,
            ok=np.array(self._columns.ok, bool),
            embeddings=embeddings,
            fingerprint=np.array(self._facts["fingerprint"]),
            backbone=np.array(self._facts["backbone"]),
        )
        with ZipFile(self._draft, "a", ZIP_DEFLATED, compresslevel=1) as archive:
            for name, rows in self._columns.texts().items():
                _write_texts(archive, name, rows)

    def close(self) -> None:
        self._vectors.close()


def _write_texts(archive: ZipFile, name: str, rows: list[str]) -> None:
    """Add an array of strings, all as wide as the longest; the blanks cost no disk, and here no memory."""
    dtype = f"<U{max(map(len, rows), default=1) or 1}"
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        facts = {"descr": dtype, "fortran_order": False, "shape": (len(rows),)}
        write_array_header_1_0(stream, facts)
        for start in range(0, len(rows), _GROUP):
            stream.write(np.array(rows[start : start + _GROUP], dtype).tobytes())


class _ParquetWriter:
    """Rows are written in groups, the vectors as lists of fixed length."""

    def __init__(self, draft: Path, facts: dict[str, str], dim: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._dim = dim
        self._schema = pa.schema(
            [
                ("ids", pa.string()),
                ("digests", pa.string()),
                ("ok", pa.bool_()),
                ("error", pa.string()),
                ("embeddings", pa.list_(pa.float32(), dim)),
            ],
            metadata=facts,
        )
        self._file = pq.ParquetWriter(draft, self._schema)
        self._columns, self._vectors = _Columns(), list[Vector]()

    def add(self, id: str, result: Result) -> None:
        self._columns.add(id, result)
        self._vectors.append(_row(result, self._dim))
        if len(self._vectors) == _GROUP:
            self._write()

    def finish(self) -> None:
        self._write()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        import pyarrow as pa

        flat = pa.array(np.concatenate([np.empty(0, np.float32), *self._vectors]))
        vectors = pa.FixedSizeListArray.from_arrays(flat, self._dim)
        table = pa.table({**self._columns.as_dict(), "embeddings": vectors}, schema=self._schema)
        self._file.write_table(table)
        self._columns, self._vectors = _Columns(), []


def _row(result: Result, dim: int) -> Vector:
    if result.embedding is None:
        return np.full(dim, np.nan, np.float32)
    return result.embedding.astype("<f4", copy=False)
