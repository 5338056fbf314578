"""What became of each image of a job: counted, written to a report, and read again to try once more."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from extractor.cli.main import SOME_FAILED
from extractor.cli.places import announce_folder
from extractor.errors import InvalidArgument
from extractor.folders import publishing, refusals
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Filed

SUFFIXES = (".csv", ".json")
COLUMNS = ("path", "status", "cached", "duplicate_of", "error", "collection", "moved_from", "damage")


@dataclass(slots=True)
class Tally:
    """How many images came to each end.

    Attributes
    ----------
    keep : bool
        Whether failures are kept one by one, too.
    """

    keep: bool = False
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    failed: int = 0
    cached: int = 0
    duplicates: int = 0
    damaged: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def images(self) -> int:
        """All of them."""
        return self.new + self.updated + self.unchanged + self.moved + self.failed

    @property
    def exit_code(self) -> int:
        """Of a command that did nothing else."""
        if not self.failed:
            return 0
        return SOME_FAILED if self.failed < self.images else 1

    def add(self, filed: Filed) -> None:
        """Count one."""
        setattr(self, filed.status, getattr(self, filed.status) + 1)
        self.cached += filed.cached
        self.duplicates += bool(filed.duplicate_of)
        self.damaged += bool(filed.damage)
        if self.keep and filed.status == "failed":
            self.failures.append({"id": printable(filed.path), "error": printable(filed.error)})


def checked_suffix(path: Path) -> Path:
    """Return `path` when a report can be written there, else raise InvalidArgument."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidArgument(f"a report is written as {' or '.join(SUFFIXES)}, not {path.name!r}")
    return path


@contextmanager
def reporting(path: Path | None, collection: str) -> Iterator[Callable[[Filed], None]]:
    """Write a row for each image; the file appears, whole, when the block ends without an error.

    Raises
    ------
    InvalidArgument
        When the place cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    announce_folder(path)
    with ExitStack() as stack:
        with refusals(path, "--report"):
            draft = stack.enter_context(publishing(path))
            stream = stack.enter_context(_closed(draft.open("w", newline="", errors="surrogateescape")))
            write = stack.enter_context((_csv if path.suffix.lower() == ".csv" else _json)(stream))

        def row(filed: Filed) -> None:
            with refusals(path, "--report"):
                write(_row(filed, collection))

        yield row
        with refusals(path, "--report"):
            stack.close()


@contextmanager
def _closed(stream: TextIO) -> Iterator[TextIO]:
    """Close a file in the end; what does not fit on the disk then is an error, but for an earlier one."""
    try:
        yield stream
        stream.close()
    finally:
        with suppress(OSError):
            stream.close()


def failed_in(report: Path, collection: str) -> Iterator[str]:
    """The paths that failed, as a report on this collection says.

    Raises
    ------
    InvalidArgument
        When it is no report, or one on another collection.
    """
    checked_suffix(report)
    try:
        with report.open(newline="", errors="surrogateescape") as stream:
            rows = csv.DictReader(stream) if report.suffix.lower() == ".csv" else json.load(stream)
            for row in rows:
                if (other := row.get("collection") or collection) != collection:
                    raise InvalidArgument(f"the report {report} is about the collection {other!r}")
                if row["status"] == "failed":
                    yield row["path"]
    except InvalidArgument:  # which is a ValueError, too
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not what --report writes"
        raise InvalidArgument(f"the report {report} cannot be read: {reason}") from error


def _row(filed: Filed, collection: str) -> dict[str, Any]:
    path = os.path.abspath(filed.path)  # noqa: PTH100 - for every image of a large job
    said = (filed.status, filed.cached, filed.duplicate_of, filed.error)
    return dict(zip(COLUMNS, (path, *said, collection, filed.moved_from, filed.damage), strict=True))


@contextmanager
def _csv(stream: TextIO) -> Iterator[Callable[[dict[str, Any]], None]]:
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    yield lambda row: writer.writerow({**row, "cached": int(row["cached"])}) and None


@contextmanager
def _json(stream: TextIO) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A list of objects, one a line."""
    before = "[\n"

    def write(row: dict[str, Any]) -> None:
        nonlocal before
        stream.write(before + json.dumps(row))
        before = ",\n"

    yield write
    stream.write("\n]\n" if before == ",\n" else "[]\n")
