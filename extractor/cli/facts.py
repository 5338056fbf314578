"""What a user says of images as they are indexed: labels and metadata."""

from __future__ import annotations

import csv
import json
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from extractor.errors import InvalidArgument
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections.metadata import Json
    from extractor.collections.sightings import Facts, FactsOf

F = TypeVar("F", bound=Callable[..., Any])

PATH, LABEL = "path", "label"
"""The columns of a table that are no metadata."""

_NAMED = 3


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


class Said(NamedTuple):
    """What the options say of paths, and the tables that it was read from."""

    of: FactsOf
    tables: Sequence[_Table]

    def say_unused(self) -> None:
        """Name the rows of tables that no image was looked up in."""
        for table in self.tables:
            if unused := table.unused():
                click.echo(unused, err=True)


def facts_from(label: str | None, label_from_folder: bool, metadata: Sequence[str]) -> Said:
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
    tables = [_Table(Path(text)) for text in metadata if "=" not in text]
    said += tables
    if len(said) < 2:
        return Said(said[0] if said else no_facts, tables)
    return Said(lambda path: reduce(_joined, (facts(path) for facts in said)), tables)


def pair(text: str) -> tuple[str, Json]:
    """KEY=VALUE: a number, true, false or null as JSON writes them, and any other text as it is."""
    key, equals, written = text.partition("=")
    if not (key and equals):
        raise InvalidArgument(f"{text!r} is not KEY=VALUE, such as season=winter")
    return key, value(written)


def value(text: str) -> Json:
    """A number, true, false or null where the text is one; else the text.

    Raises
    ------
    InvalidArgument
        When it is a number that cannot be stored.
    """
    try:
        found = json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text
    if isinstance(found, int | float) and not (abs(found) < 2**63 or isinstance(found, float)):
        raise InvalidArgument(f"the number {text} does not fit in 64 bits, so it cannot be stored")
    if isinstance(found, float) and not math.isfinite(found):
        raise InvalidArgument(f"the number {text} is too large to be stored")
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
        self._file, self._lock = file, threading.Lock()
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("CREATE TABLE facts (path TEXT PRIMARY KEY, facts TEXT, used INTEGER DEFAULT 0)")
        try:
            with file.open(newline="", errors="surrogateescape") as stream:
                insert = "INSERT OR REPLACE INTO facts (path, facts) VALUES (?, ?)"
                self._db.executemany(insert, _rows(stream, file))
        except FileNotFoundError:
            raise InvalidArgument(
                f"{str(file)!r} is neither KEY=VALUE, such as season=winter, nor a table that is there"
            ) from None
        except (OSError, csv.Error, UnicodeError) as error:
            raise InvalidArgument(
                f"the table {file} cannot be read: {error}; a single fact is written KEY=VALUE"
            ) from error

    def __call__(self, path: str) -> Facts:
        from extractor.collections.item import KEEP
        from extractor.collections.sightings import NO_FACTS, Facts

        with self._lock:
            key = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - called for every file of a large job
            query = "UPDATE facts SET used = 1 WHERE path = ? RETURNING facts"
            row = self._db.execute(query, (key,)).fetchone()
        if not row:
            return NO_FACTS
        facts = json.loads(row[0])
        return Facts(facts.pop(LABEL, KEEP), {key: value(text) for key, text in facts.items()})

    def unused(self) -> str:
        """How many rows were about no image that was asked for, and some of them; empty for none."""
        with self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM facts WHERE NOT used").fetchone()
            some = self._db.execute("SELECT path FROM facts WHERE NOT used LIMIT ?", (_NAMED,)).fetchall()
        if not count:
            return ""
        named = ", ".join(printable(os.fsdecode(path)) for (path,) in some)
        more = ", ..." if count > _NAMED else ""
        return f"{counted(count, 'row')} of {self._file} matched no image that was indexed: {named}{more}"


def _rows(stream: Any, file: Path) -> Iterator[tuple[bytes, str]]:
    """Paths as bytes, since a name need not be text, and what is said of them."""
    table = csv.DictReader(stream)
    if PATH not in (table.fieldnames or ()):
        raise InvalidArgument(f"the table {file} needs a column `{PATH}`; its first line names the columns")
    for row in table:
        place = os.path.abspath(file.parent / (row.pop(PATH) or ""))  # noqa: PTH100 - as the items' ids
        facts = {key: text for key, text in row.items() if key and isinstance(text, str) and text}
        yield os.fsencode(place), json.dumps(facts)
