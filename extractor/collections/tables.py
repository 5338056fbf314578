"""Files of embeddings, read a block at a time: Parquet, and NumPy's `.npz`.

Both have a column for each fact, under the names that `penultimate embed`
and the export of a collection give them, and the fingerprint of the backbone.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib import format as npy

from extractor.errors import DamagedFile, InvalidArgument, NotFound

BLOCK = 1024
"""Rows in memory at once."""

TEXTS = ("ids", "digests", "labels", "metadata", "sources", "error")
NUMBERS = ("sizes", "mtimes_ns", "ok")
VECTORS = "embeddings"

_NEEDED = ("ids", VECTORS)
_READ = (*TEXTS, *NUMBERS, VECTORS)

_TORN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)

Columns: TypeAlias = Mapping[str, list[Any]]
"""Some rows: a list for each column; None where nothing is said; vectors as arrays."""


class Table(NamedTuple):
    """An open file of embeddings.

    Attributes
    ----------
    fingerprint : str
        Of the backbone that made them.
    blocks : iterator of Columns
        Its rows in order, at most `BLOCK` at once.
    width : int or None
        Of its vectors, where the file says it of all of them.
    """

    fingerprint: str
    blocks: Iterator[Columns]
    width: int | None


@contextmanager
def opened(path: Path) -> Iterator[Table]:
    """Open a `.parquet` or `.npz` file.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidArgument
        When it is of another kind, lacks a column, or does not say of which
        backbone its vectors are.
    DamagedFile
        Here or later, when it is torn or was changed.
    """
    kinds = {".parquet": _parquet, ".npz": _npz}
    if path.suffix not in kinds:
        raise InvalidArgument(f"{path} must end in {' or '.join(kinds)}: that says what kind of file it is")
    if not path.is_file():
        raise NotFound(f"no such file: {path}")
    with kinds[path.suffix](path) as table:
        yield table


def check_width(table: Table, path: Path, dim: int) -> None:
    """Raise InvalidArgument when the vectors of a file are known to be of another width."""
    if table.width not in (None, dim):
        raise InvalidArgument(
            f"the vectors of {path} have {table.width:,} values; those of the collection have {dim:,}"
        )


@contextmanager
def _parquet(path: Path) -> Iterator[Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without a buffer of its own size, a whole group of rows is read at once.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    with file:
        there = file.schema_arrow.names
        _require(path, there)
        for name in (*TEXTS, *NUMBERS):
            if name in there:
                _check_type(path, name, file.schema_arrow.field(name).type)
        facts = file.schema_arrow.metadata or {}
        yield Table(
            _fingerprint(path, facts.get(b"fingerprint", b"").decode(errors="replace")),
            _parquet_blocks(path, file, [name for name in _READ if name in there]),
            getattr(file.schema_arrow.field(VECTORS).type, "list_size", None),
        )


def _parquet_blocks(path: Path, file: Any, names: list[str]) -> Iterator[Columns]:
    import pyarrow as pa

    try:
        for batch in file.iter_batches(BLOCK, columns=names, use_threads=False):
            columns = {name: batch.column(name) for name in names}
            vectors = _rows_of(path, columns.pop(VECTORS))
            yield {**{name: column.to_pylist() for name, column in columns.items()}, VECTORS: vectors}
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _check_type(path: Path, name: str, kind: Any) -> None:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    wanted = texts if name in TEXTS else (types.is_integer, types.is_boolean)
    if not any(of(kind) for of in (types.is_null, *wanted)):
        raise _unusable(path, name, kind)


def _rows_of(path: Path, column: Any) -> list[Any]:
    """The vectors of a column of lists, as arrays; None for those that are null."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InvalidArgument(f"the column {VECTORS!r} of {path} holds {kind}, not lists of numbers")
    if not pa.types.is_floating(kind.value_type):
        raise InvalidArgument(
            f"the column {VECTORS!r} of {path} holds lists of {kind.value_type}, not of floats"
        )
    return [
        np.asarray(row.values.to_numpy(zero_copy_only=False), np.float32) if row.is_valid else None
        for row in column
    ]


@contextmanager
def _npz(path: Path) -> Iterator[Table]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from None
    with archive, ExitStack() as stack:
        there = [name.removesuffix(".npy") for name in archive.namelist()]
        _require(path, there)
        columns = {
            name: _Column(path, name, stack.enter_context(archive.open(f"{name}.npy")))
            for name in (*_READ, "fingerprint")
            if name in there
        }
        fingerprint = columns.pop("fingerprint").one() if "fingerprint" in columns else ""
        shape = columns[VECTORS].shape
        width = shape[1] if len(shape) == 2 else None
        yield Table(_fingerprint(path, fingerprint), _npz_blocks(path, columns), width)


def _npz_blocks(path: Path, columns: dict[str, _Column]) -> Iterator[Columns]:
    lengths = {column.shape[0] if column.shape else -1 for column in columns.values()}
    if len(lengths) != 1 or len(columns[VECTORS].shape) != 2:
        raise InvalidArgument(
            f"the columns of {path} must be as long as one another, and {VECTORS!r} of two dimensions"
        )
    (rows,) = lengths
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        yield {name: column.read(count) for name, column in columns.items()}


class _Column:
    """An array of an archive, read from its beginning on."""

    def __init__(self, path: Path, name: str, stream: IO[bytes]) -> None:
        self._path, self._name, self._stream = path, name, stream
        try:
            version = npy.read_magic(stream)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self._dtype = header(stream)
        except _TORN as error:
            raise _damaged(path, error) from None
        wanted = "f" if name == VECTORS else "biu" if name in NUMBERS else "U"
        if self._dtype.kind not in wanted or (fortran and len(self.shape) > 1):
            raise _unusable(path, name, self._dtype)

    def one(self) -> str:
        """Its only value."""
        if self.shape != ():
            raise InvalidArgument(f"{self._name!r} of {self._path} must be a single text")
        (value,) = self.read(1)
        return str(value)

    def read(self, count: int) -> list[Any]:
        """The next rows."""
        shape = (count, *self.shape[1:])
        wanted = int(np.prod(shape)) * self._dtype.itemsize
        try:
            content = self._stream.read(wanted)
        except _TORN as error:
            raise _damaged(self._path, error) from None
        if len(content) != wanted:
            raise _damaged(self._path, f"{self._name!r} ends too early")
        array = np.frombuffer(content, self._dtype).reshape(shape)
        if self._name == VECTORS:
            return list(array.astype(np.float32, copy=False))
        return [value if value != "" else None for value in array.tolist()]


def _require(path: Path, there: list[str]) -> None:
    if missing := [name for name in _NEEDED if name not in there]:
        raise InvalidArgument(
            f"{path} has no column {' and no column '.join(map(repr, missing))}; it has: {', '.join(there)}"
        )


def _fingerprint(path: Path, found: str) -> str:
    if not found:
        raise InvalidArgument(
            f"{path} does not say of which backbone its vectors are: files written by `penultimate embed "
            "--out` and `penultimate collections export` do"
        )
    return found


def _unusable(path: Path, name: str, kind: object) -> InvalidArgument:
    return InvalidArgument(f"the column {name!r} of {path} is of type {kind}, which cannot be used here")


def _damaged(path: Path, reason: object) -> DamagedFile:
    return DamagedFile(f"{path} cannot be read as what its name says ({reason}): make it anew")
