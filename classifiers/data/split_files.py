"""A split as a file: which images were fitted on and which were tested on, to be taken again."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from classifiers.data.features import Features
from classifiers.data.parts import TEST, TRAIN
from extractor.errors import InvalidArgument, NotFound
from extractor.text import printable

FILE = "split.csv"
COLUMNS = ("path", "digest", "label", "part")


def write_split(file: Path, known: Features, unseen: Features, aside: Features | None = None) -> None:
    """Write a CSV with a header, and the path, digest, label and part of each row."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for features, part in ((known, TRAIN), *([(aside, TRAIN)] if aside else []), (unseen, TEST)):
            columns = (map(printable, features.images), features.digests.tolist(), features.texts)
            table.writerows((*row, part) for row in zip(*columns, strict=True))


def take_split(features: Features, file: Path) -> Features:
    """The same with the parts that a file says, by digest; what it does not name is trained on.

    Raises
    ------
    NotFound, InvalidArgument
        When it is not there, is no such file, or names none of the images as test.
    """
    parts = _read(file)
    said = np.array([parts.get(digest, TRAIN) for digest in features.digests.tolist()], dtype="<U5")
    if not (said == TEST).any():
        raise InvalidArgument(f"{file} names none of these images as one to test on: it is of other images")
    return replace(features, parts=said)


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise NotFound(f"no such file: {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return _parts(file, csv.reader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(
            f"{file} cannot be read as a split ({error}): `fit-head` writes {FILE}"
        ) from error


def _parts(file: Path, table: Iterable[list[str]]) -> dict[str, str]:
    rows = iter(table)
    header = [name.strip().lower() for name in next(rows, [])]
    if not {"digest", "part"} <= set(header):
        raise InvalidArgument(
            f"{file} is no split: it needs the columns digest and part, as {FILE} of a head has"
        )
    found: dict[str, str] = {}
    for cells in filter(None, rows):
        row = dict(zip(header, cells, strict=False))
        digest, part = row.get("digest", ""), row.get("part", "")
        if part not in (TRAIN, TEST) or found.get(digest, part) != part:
            raise InvalidArgument(f"{file} does not say once of {digest[:12]!r} whether it is train or test")
        found[digest] = part
    return found
