"""`penultimate collections backup`, `restore` and `drop`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from extractor.cli.building import build
from extractor.cli.collections.choosing import confirm, yes_option
from extractor.cli.options import data_option
from extractor.cli.places import announce_folder
from extractor.settings import DataFolder
from extractor.text import counted, printable

_FILE = click.Path(path_type=Path)


@click.command(epilog="Example: penultimate collections backup holiday /backups/holiday.sqlite")
@click.argument("collection")
@click.argument("file", type=_FILE)
@data_option
def backup(collection: str, file: Path, data: DataFolder) -> None:
    """Copy COLLECTION into FILE, as of one moment, also while it is written and searched."""
    from extractor.collections.backup import backup
    from extractor.collections.store import Store

    with closing(Store.find(data, collection)) as store:
        announce_folder(file)
        done = backup(store, file)
    click.echo(
        f"wrote {counted(done.items, 'item')}, {counted(done.nbytes, 'byte')}, to {printable(done.path)}",
        err=True,
    )


@click.command(epilog="Example: penultimate collections restore holiday-2 /backups/holiday.sqlite")
@click.argument("collection")
@click.argument("file", type=_FILE)
@data_option
def restore(collection: str, file: Path, data: DataFolder) -> None:
    """Make COLLECTION, which must not be there yet, of the backup FILE."""
    from extractor.collections import Collection
    from extractor.collections.backup import restore

    done = restore(data, collection, file)
    with Collection.open(data, collection) as target:
        build(target)
    click.echo(f"the collection {collection!r} holds {counted(done.items, 'item')} again", err=True)


@click.command(epilog="Example: penultimate collections drop holiday-2 --yes")
@click.argument("collection")
@yes_option
@data_option
def drop(collection: str, yes: bool, data: DataFolder) -> None:
    """Remove COLLECTION with all that it holds; the image files stay. Asks before, on a terminal."""
    from extractor.collections import dropping

    confirm(f"Remove the collection {collection!r} {_held(data, collection)}?", yes=yes)
    dropping.drop(data, collection)
    click.echo(f"removed the collection {collection!r}", err=True)


def _held(data: DataFolder, collection: str) -> str:
    """What goes with a collection; a damaged one cannot tell, and can be removed all the same."""
    from extractor.collections.store import Store
    from extractor.errors import DamagedFile

    try:
        with closing(Store.find(data, collection)) as store, store.reading() as reader:
            return f"with {counted(len(reader), 'item')}"
    except DamagedFile:
        return "which is damaged, with all that it holds"
