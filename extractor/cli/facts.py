"""What a user says of images as they are indexed: labels and metadata."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from extractor.errors import InvalidArgument

if TYPE_CHECKING:
    from extractor.collections.metadata import Json
    from extractor.collections.sightings import Facts, FactsOf

F = TypeVar("F", bound=Callable[..., Any])

PATH, LABEL = "path", "label"
"""The columns of a table that are no metadata."""


def facts_options(command: F) -> F:
    """Add what `facts_from` takes."""
    for option in (
        click.option(
            "--metadata",
            multiple=True,
            metavar="KEY=VALUE|FILE.csv",
            help="Facts to keep with the images: one for all of them, or a table with the column `path` "
            "(relative to the table), perhaps `label`, and others. May be given several times.",
        ),
        click.option(
            "--label-from-folder", is_flag=True, help="The label is the name of the image's folder."
        ),
        click.option("--label", help="The label of all images."),
    ):
        command = option(command)
    return command


def facts_from(label: str | None, label_from_folder: bool, metadata: Sequence[str]) -> FactsOf:
    """What the options say of a path; of several that say something, the last counts.

    Raises
    ------
    click.UsageError
        When two of them exclude each other.
    InvalidArgument
        When a table cannot be read.
    """
    from extractor.collections.item import KEEP, check_label
    from extractor.collections.sightings import Facts, no_facts

    if label is not None and label_from_folder:
        raise click.UsageError("--label and --label-from-folder exclude each other")
    if label == "":
        raise click.UsageError("--label is empty; leave it out for images without a label")
    check_label(label, "of every image")
    said: list[FactsOf] = []
    if label is not None:
        said.append(lambda _: Facts(label))
    if label_from_folder:
        said.append(lambda path: Facts(_folder(path) or KEEP))
    if fixed := dict(pair(text) for text in metadata if "=" in text):
        said.append(lambda _: Facts(metadata=fixed))
    said += [_Table(Path(text)) for text in metadata if "=" not in text]
    if len(said) < 2:
        return said[0] if said else no_facts
    return lambda path: reduce(_joined, (facts(path) for facts in said))


def pair(text: str) -> tuple[str, Json]:
    """KEY=VALUE: a number, true, false or null as JSON writes them, and any other text as it is."""
    key, equals, written = text.partition("=")
    if not (key and equals):
        raise InvalidArgument(f"{text!r} is not KEY=VALUE, such as season=winter")
    return key, value(written)


def value(text: str) -> Json:
    """A number, true, false or null where the text is one; else the text."""
    try:
        found = json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text
    return found if isinstance(found, int | float | None) else text


def _folder(path: str) -> str:
    return os.path.abspath(path).rsplit("/", 2)[-2]  # noqa: PTH100 - called for every file of a large job


def _joined(one: Facts, other: Facts) -> Facts:
    from extractor.collections.item import KEEP
    from extractor.collections.sightings import Facts

    label = one.label if other.label is KEEP else other.label
    return Facts(label, {**one.metadata, **other.metadata})


class _Table:
    """A CSV of facts, one row a path; kept in a temporary file, since it may be long."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("CREATE TABLE facts (path TEXT PRIMARY KEY, facts TEXT)")
        try:
            with file.open(newline="", errors="surrogateescape") as stream:
                self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", _rows(stream, file))
        except (OSError, csv.Error, UnicodeError) as error:
            raise InvalidArgument(
                f"the table {file} cannot be read: {error}; a single fact is written KEY=VALUE"
            ) from error

    def __call__(self, path: str) -> Facts:
        from extractor.collections.item import KEEP
        from extractor.collections.sightings import NO_FACTS, Facts

        with self._lock:
            key = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - called for every file of a large job
            row = self._db.execute("SELECT facts FROM facts WHERE path = ?", (key,)).fetchone()
        if not row:
            return NO_FACTS
        facts = json.loads(row[0])
        return Facts(facts.pop(LABEL, KEEP), {key: value(text) for key, text in facts.items()})


def _rows(stream: Any, file: Path) -> Iterator[tuple[bytes, str]]:
    """Paths as bytes, since a name need not be text, and what is said of them."""
    table = csv.DictReader(stream)
    if PATH not in (table.fieldnames or ()):
        raise InvalidArgument(f"the table {file} needs a column `{PATH}`; its first line names the columns")
    for row in table:
        place = os.path.abspath(file.parent / (row.pop(PATH) or ""))  # noqa: PTH100 - as the items' ids
        facts = {key: text for key, text in row.items() if key and isinstance(text, str) and text}
        yield os.fsencode(place), json.dumps(facts)
