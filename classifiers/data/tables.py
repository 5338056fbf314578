"""Tables of labelled images: CSV and Parquet, row by row."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from classifiers.data.labels import cleaned
from extractor.errors import InvalidArgument

NEEDED = ("path", "label")
OPTIONAL = ("split", "group", "weight")

_ADVICE = "give a folder with one sub-folder per class, or a CSV file in UTF-8 with the columns path,label"


class Row(NamedTuple):
    """A row as it is written; what it does not say is empty.

    Attributes
    ----------
    where : str
        For a person: the file and the line.
    path, label, split, group, weight : str
    """

    where: str
    path: str
    label: str
    split: str = ""
    group: str = ""
    weight: str = ""


def rows(source: Path) -> Iterator[Row]:
    """The rows of a table: Parquet by its suffix, else CSV.

    The header has the columns `path` and `label`, and may have `split`,
    `group` and `weight`, in any order and in small letters or capitals;
    further columns are passed over.

    Raises
    ------
    InvalidArgument
        When it is no such table.
    """
    return _of_parquet(source) if source.suffix.lower() == ".parquet" else _of_csv(source)


def places(source: Path, header: Sequence[str]) -> dict[str, int]:
    """Where each of our columns stands in a header; those that are not there are left out.

    Raises
    ------
    InvalidArgument
        When one that is needed is not there, or one is there twice.
    """
    names = [name.strip().lower() for name in header]
    if not set(NEEDED) <= set(names):
        found = ", ".join(name.strip() for name in header) or "none"
        raise InvalidArgument(
            f"{source} needs a header with the columns path,label (separated by commas); it has: {found}"
        )
    for name in (*NEEDED, *OPTIONAL):
        if names.count(name) > 1:
            raise InvalidArgument(f"{source} has the column {name} {names.count(name)} times: leave one")
    return {name: names.index(name) for name in (*NEEDED, *OPTIONAL) if name in names}


def _of_csv(source: Path) -> Iterator[Row]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            yield from _csv_rows(source, stream)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{source} cannot be read as a CSV file ({error}): {_ADVICE}") from error


def _csv_rows(source: Path, stream: Iterable[str]) -> Iterator[Row]:
    table = csv.reader(stream)
    wanted = places(source, next(table, []))
    for cells in table:
        if cells:
            said = {name: cells[at].strip() for name, at in wanted.items() if at < len(cells)}
            yield _row(f"{source}, line {table.line_num}", said)


def _of_parquet(source: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            names = file.schema_arrow.names
            wanted = {name: names[at] for name, at in places(source, names).items()}
            number = 0
            for batch in file.iter_batches(columns=list(wanted.values())):
                for cells in batch.to_pylist():
                    number += 1
                    yield _row(f"{source}, row {number}", {name: cells[own] for name, own in wanted.items()})
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{source} cannot be read as a Parquet file ({error}): make it anew") from error


def _row(where: str, said: dict[str, Any]) -> Row:
    path = said.pop("path", None)
    texts = {name: cleaned(value) for name, value in said.items()}
    named = os.fsdecode(path) if isinstance(path, bytes) else "" if path is None else str(path)
    return Row(where, named.strip(), texts.pop("label", ""), **texts)
