"""Which items a command is about: ids, or a filter; and asking before something is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from extractor.cli.main import SOME_FAILED, interruption
from extractor.errors import InvalidArgument
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.collections.filters import Filter

F = TypeVar("F", bound=Callable[..., Any])

_BATCH = 1000


def _as_filter(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Filter | None:
    from extractor.collections.filters import Filter

    return None if value is None else Filter.parse(value)


filter_option = click.option(
    "--filter",
    "where",
    metavar="FILTER",
    callback=_as_filter,
    help="Only items of which this is true, such as \"label = 'cat' and width > 300\" "
    "(docs/collections.md#filters).",
)

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def check_chosen(ids: Sequence[str], where: Filter | None) -> None:
    """Raise UsageError unless items are named in one of the two ways."""
    if ids and where is not None:
        raise click.UsageError("name items by their ids, or by --filter, and not both")
    if not ids and where is None:
        raise click.UsageError("name the items: their ids, or --filter for those of which something is true")


def warn_of_fields(target: Collection, where: Filter | None) -> None:
    """Say on standard error when a filter compares a field that no item has, as when it is misspelt."""
    try:
        target.require_fields(where)
    except InvalidArgument as error:
        click.echo(f"Warning: {printable(error)}", err=True)


def item_id(target: Collection, text: str) -> str | None:
    """The id of the item that is meant: `text` itself, or the file of that path; None when there is none."""
    for id in (text, os.path.abspath(text)):  # noqa: PTH100 - as the items' ids
        with suppress(InvalidArgument):  # a name that is no Unicode is none of an item, but can be a file's
            if target.known(id):
                return id
    return None


class Chosen:
    """Ids of items, in batches.

    Attributes
    ----------
    found, missing : int
        How many of those that were named there are, and are not.
    """

    def __init__(self, target: Collection, ids: Sequence[str], where: Filter | None) -> None:
        self._target, self._ids, self._where = target, ids, where
        self.found = self.missing = 0

    def batches(self) -> Iterator[list[str]]:
        """At most a thousand at once; what is not there is said."""
        ids = self._named() if self._where is None else (item.id for item in self._target.items(self._where))
        while batch := list(islice(ids, _BATCH)):
            self.found += len(batch)
            yield batch

    def __iter__(self) -> Iterator[str]:
        return (id for batch in self.batches() for id in batch)

    @property
    def exit_code(self) -> int:
        """As of every command: 0 all, 3 some, 1 none."""
        if not self.missing:
            return 0
        return SOME_FAILED if self.found else 1

    def _named(self) -> Iterator[str]:
        for text in self._ids:
            id = item_id(self._target, text)
            if id is None:
                self.missing += 1
                click.echo(f"the collection {self._target.name!r} has no item {printable(text)!r}", err=True)
            else:
                yield id


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere nobody can be asked.

    Raises
    ------
    InvalidArgument
        When the answer is no, or without a terminal and without `yes`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidArgument(f"{question} Nobody can be asked here: say so with --yes")
    with interruption("Nothing was changed."):
        sure = click.confirm(question, err=True)
    if not sure:
        raise InvalidArgument("nothing was changed")
