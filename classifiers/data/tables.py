"""Tables of labelled images: CSV and Parquet, row by row."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

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
    further columns are passed over, see `unused`.

    Raises
    ------
    InvalidArgument
        When it is no such table.
    """
    return _of_parquet(source) if source.suffix.lower() == ".parquet" else _of_csv(source)


def unused(source: Path) -> list[str]:
    """The columns of a table that `rows` passes over, each with what it may be meant for.

    Raises
    ------
    InvalidArgument
        As `rows` does.
    """
    names = _parquet_header(source) if source.suffix.lower() == ".parquet" else _csv_header(source)
    wanted = places(source, names)
    free = [name for name in OPTIONAL if name not in wanted]
    others = [name.strip() for at, name in enumerate(names) if at not in wanted.values() and name.strip()]
    return [name + _meant(name, free) for name in others]


def _meant(name: str, free: Sequence[str]) -> str:
    close = get_close_matches(name.lower(), free, 1)
    return f" (is it {close[0]}?)" if close else ""


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


@contextmanager
def _csv(source: Path) -> Iterator[TextIO]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            yield stream
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{source} cannot be read as a CSV file ({error}): {_ADVICE}") from error


def _csv_header(source: Path) -> list[str]:
    with _csv(source) as stream:
        return next(csv.reader(stream), [])


def _of_csv(source: Path) -> Iterator[Row]:
    with _csv(source) as stream:
        yield from _csv_rows(source, stream)


def _csv_rows(source: Path, stream: Iterable[str]) -> Iterator[Row]:
    table = csv.reader(stream)
    wanted = places(source, next(table, []))
    for cells in table:
        if cells:
            said = {name: cells[at].strip() for name, at in wanted.items() if at < len(cells)}
            yield _row(f"{source}, line {table.line_num}", said)


def _parquet_header(source: Path) -> list[str]:
    with _parquet(source) as file:
        return list(file.schema_arrow.names)


def _of_parquet(source: Path) -> Iterator[Row]:
    with _parquet(source) as file:
        names = file.schema_arrow.names
        wanted = {name: names[at] for name, at in places(source, names).items()}
        batches = file.iter_batches(columns=list(wanted.values()))
        for number, cells in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1):
            yield _row(f"{source}, row {number}", {name: cells[own] for name, own in wanted.items()})


@contextmanager
def _parquet(source: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{source} cannot be read as a Parquet file ({error}): make it anew") from error


def _row(where: str, said: dict[str, Any]) -> Row:
    path = said.pop("path", None)
    texts = {name: cleaned(value) for name, value in said.items()}
    named = os.fsdecode(path) if isinstance(path, bytes) else "" if path is None else str(path)
    return Row(where, named.strip(), texts.pop("label", ""), **texts)
