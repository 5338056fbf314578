"""What the commands that look into a collection share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.main import interruption
from extractor.cli.places import announce_folder
from extractor.cli.progress import progress
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.exploring.rows import Rows
    from extractor.sheets import Group, Tile

SHEET_GROUPS, SHEET_PICTURES = 30, 16
"""What a sheet of groups shows at most, and of each group."""


def _as_sheet(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse another suffix before the work, not after it."""
    from extractor.sheets import checked_suffix

    if value:
        announce_folder(checked_suffix(value))
    return value


def sheet_option(help: str) -> Callable[[Any], Any]:
    """`--sheet`: a picture that is checked before the work begins."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--sheet", type=path, callback=_as_sheet, help=f"{help} (PNG, JPEG or WebP).")


@contextmanager
def opened(data: DataFolder, name: str) -> Iterator[tuple[Collection, Rows]]:
    """A collection, and all it holds at this moment."""
    from extractor.collections import Collection
    from extractor.exploring.rows import read_rows

    with Collection.open(data, name) as target, read_rows(target, progress) as rows:
        yield target, rows


@contextmanager
def only_read() -> Iterator[None]:
    """For a whole command, or as its decorator: Ctrl-C says that nothing was changed."""
    with interruption("The collection is as it was."):
        yield


def tile(target: Collection, id: str, note: str = "", label: str | None = None) -> Tile:
    """An item on a sheet."""
    from extractor.exploring.pictures import picture_of
    from extractor.sheets import Tile

    return Tile(picture_of(target, id), id, note=note, label=label or "")


def draw(groups: Sequence[Group], sheet: Path, title: str, legend: str) -> None:
    """Write a sheet of groups and say so; there is none of nothing."""
    from extractor.sheets import group_sheet

    if not groups:
        click.echo("there is nothing to draw", err=True)
        return
    group_sheet(groups, sheet, title=title, legend=legend)
    click.echo(f"wrote {printable(sheet)}", err=True)
