"""Collections as files for other tools, and back: a block of rows in memory at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from extractor.collections import metadata, tables
from extractor.collections.filters import Filter
from extractor.collections.item import Entry, FileStamp, Item
from extractor.collections.store import Store
from extractor.errors import FingerprintMismatch, InvalidArgument, PenultimateError
from extractor.folders import publishing, refusals

_DIGEST = re.compile("([0-9a-fA-F]{64})?")


class RowError(NamedTuple):
    """Why one row of a file is not in the collection.

    Attributes
    ----------
    row : int
        Counted from 0.
    id : str
        As far as the row has one.
    reason : str
    """

    row: int
    id: str
    reason: str


@dataclass(slots=True)
class Imported:
    """How many rows of a file came to each end.

    Attributes
    ----------
    rows : int
    added : int
        Those of new ids, which are in the collection now.
    replaced : int
        Those that took the place of an item of their id.
    refused : int
        Those whose id was there, when none was to be replaced.
    failed : int
        Those with an error, each of which was reported.
    """

    rows: int = 0
    added: int = 0
    replaced: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def taken(self) -> int:
        """Those that are in the collection now."""
        return self.added + self.replaced


Report: TypeAlias = Callable[[RowError], None]


def export(store: Store, path: Path, where: Filter | None = None) -> int:
    """Write items to a Parquet file, which appears whole, as of one moment.

    The columns are `ids`, `digests` (hex), `labels`, `metadata` (JSON text),
    `sources`, `sizes`, `mtimes_ns` and `embeddings` (lists of float32, as the
    backbone gave them); the file's own metadata has `fingerprint`, `backbone`
    and `collection`. Thumbnails are left out: a backup has them.

    Parameters
    ----------
    store : Store
    path : Path
        Ending in `.parquet`.
    where : Filter, optional
        Which items; all of them when there is none.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    InvalidArgument
        When the path ends otherwise, the disk is full or the place cannot be written.
    DamagedFile
        When an item is not what was written; `verify` says which.
    """
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        raise InvalidArgument(f"{path} must end in .parquet, which is the kind of file that is written")
    schema = _schema(store)
    count = 0
    with (
        store.reading() as reader,
        refusals(path, "--out"),
        publishing(path) as draft,
        pq.ParquetWriter(draft, schema, write_page_checksum=True) as file,
    ):
        entries = reader.entries(where, vectors=True)
        while block := list(islice(entries, tables.BLOCK)):
            file.write_table(_table(block, schema, store.meta.dim))
            count += len(block)
    return count


def import_file(
    store: Store, path: Path, failed: Report, *, replace: bool = True, done: Imported | None = None
) -> Imported:
    """Add the rows of a Parquet or `.npz` file, in many small commits.

    Such files are written by `export`, by `penultimate embed --out`, or by
    others of the same columns, of which `ids`, `embeddings` and the
    fingerprint must be there. A row that cannot be an item fails alone. After
    an interruption the same call, run again, ends as if there had been none.

    Parameters
    ----------
    store : Store
    path : Path
    failed : callable
        Called for each row that fails, in order.
    replace : bool
        Whether rows take the place of items of the same id; otherwise they are refused.
    done : Imported, optional
        Counts from zero, brought up to date with each commit, and returned in the end.

    Raises
    ------
    FingerprintMismatch
        When the vectors are of another backbone; nothing was added.
    NotFound, InvalidArgument
        When the file cannot be used as a whole, as when its vectors are of another width.
    DamagedFile
        When it is torn; rows before the tear have been added.
    Unavailable
        When the collection cannot be written.
    """
    done = done or Imported()
    with tables.opened(path) as table:
        if table.fingerprint != store.meta.fingerprint:
            raise FingerprintMismatch(
                f"the file {path}",
                store.meta.fingerprint,
                table.fingerprint,
                f"The collection {store.name!r} is of {store.meta.backbone}: import into one of another name",
            )
        tables.check_width(table, path, store.meta.dim)
        for block in table.blocks:
            items = list(_items(block, done, store.meta.dim, failed))
            there = len(store.put(items, replace=replace))
            done.replaced += there if replace else 0
            done.refused += 0 if replace else there
            done.added += len(items) - there
    return done


def _schema(store: Store) -> Any:
    import pyarrow as pa

    meta = store.meta
    texts = [(name, pa.string()) for name in ("ids", "digests", "labels", "metadata", "sources")]
    columns = [*texts, ("sizes", pa.int64()), ("mtimes_ns", pa.int64())]
    facts = {"fingerprint": meta.fingerprint, "backbone": meta.backbone, "collection": store.name}
    return pa.schema([*columns, (tables.VECTORS, pa.list_(pa.float32(), meta.dim))], metadata=facts)


def _table(entries: list[Entry], schema: Any, dim: int) -> Any:
    import pyarrow as pa

    files = [entry.file or (None, None, None) for entry in entries]
    sources, sizes, mtimes = zip(*files, strict=True)
    flat = pa.array(np.concatenate([entry.vector for entry in entries if entry.vector is not None]))
    columns = {
        "ids": [entry.id for entry in entries],
        "digests": [entry.digest.hex() for entry in entries],
        "labels": [entry.label for entry in entries],
        "metadata": [metadata.dumped(entry.metadata) for entry in entries],
        "sources": sources,
        "sizes": sizes,
        "mtimes_ns": mtimes,
        tables.VECTORS: pa.FixedSizeListArray.from_arrays(flat, dim),
    }
    return pa.table(columns, schema=schema)


def _items(block: tables.Columns, done: Imported, dim: int, failed: Report) -> Iterator[Item]:
    """The items of some rows; what is wrong with the others is counted and reported."""
    for values in zip(*block.values(), strict=True):
        row = dict(zip(block, values, strict=True))
        try:
            yield _item(row, dim)
        except PenultimateError as error:
            done.failed += 1
            failed(RowError(done.rows, str(row["ids"] or ""), str(error)))
        done.rows += 1


def _item(row: dict[str, Any], dim: int) -> Item:
    if row.get("ok") is False or row.get("error"):
        raise InvalidArgument(row.get("error") or "the row says that it has no vector")
    vector = row[tables.VECTORS]
    if vector is None or len(vector) != dim:
        found = "no vector" if vector is None else f"a vector of {len(vector)} values"
        raise InvalidArgument(f"the row has {found}; those of the collection have {dim}")
    return Item(
        row["ids"],
        vector,
        _digest(row.get("digests")),
        _file(row),
        row.get("labels"),
        _metadata(row.get("metadata")),
    )


def _metadata(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the metadata is no JSON: {error}") from None


def _digest(text: str | None) -> bytes:
    if not _DIGEST.fullmatch(text or ""):
        raise InvalidArgument(f"the digest {text!r} is not the 32 bytes of SHA-256 in hex")
    return bytes.fromhex(text or "")


def _file(row: dict[str, Any]) -> FileStamp | None:
    source, size, mtime_ns = row.get("sources"), row.get("sizes"), row.get("mtimes_ns")
    if not source or size is None or mtime_ns is None:
        return None
    return FileStamp(source, size, mtime_ns)
