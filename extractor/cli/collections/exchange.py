"""`penultimate collections export` and `import`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.building import build
from extractor.cli.collections.choosing import filter_option
from extractor.cli.main import INTERRUPTED, SOME_FAILED
from extractor.cli.options import data_option
from extractor.cli.places import announce_folder
from extractor.settings import DEFAULT_BACKBONE, DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections.exchange import Imported, RowError
    from extractor.collections.filters import Filter
    from extractor.collections.store import Store

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Examples:
  penultimate collections export holiday holiday.parquet
  penultimate collections export holiday cats.parquet --filter "label = 'cat'"
"""
)
@click.argument("collection")
@click.argument("file", type=_FILE)
@filter_option
@data_option
def export(collection: str, file: Path, where: Filter | None, data: DataFolder) -> None:
    """Write ids, vectors, labels and metadata of COLLECTION to FILE.parquet."""
    from extractor.collections.exchange import export
    from extractor.collections.fields import require_fields
    from extractor.collections.store import Store

    with closing(Store.find(data, collection)) as store:
        with store.reading() as reader:
            require_fields(reader, where)
        announce_folder(file)
        count = export(store, file, where)
    click.echo(f"wrote {counted(count, 'item')} to {printable(file)}", err=True)


@click.command(
    "import",
    epilog="""\b
Examples:
  penultimate collections import holiday holiday.parquet
  penultimate collections import fresh vectors.npz --keep

\b
Exit codes: 0 all rows are in the collection, 3 some failed (listed), 1 none could be added.
""",
)
@click.argument("collection")
@click.argument("file", type=_FILE)
@click.option(
    "--keep", is_flag=True, help="Items that are there stay; otherwise rows of their ids replace them."
)
@click.option(
    "--backbone",
    default=DEFAULT_BACKBONE,
    show_default=True,
    help="Of a collection that is made: an exported backbone, which gave the vectors.",
)
@data_option
def import_(collection: str, file: Path, keep: bool, backbone: str, data: DataFolder) -> int:
    """Add the rows of FILE, .parquet or .npz, to COLLECTION, which is made when it is not there.

    Such files are written by `penultimate collections export` and `penultimate
    embed`. Their vectors must be of the collection's backbone.
    """
    from extractor.collections import Collection
    from extractor.collections.exchange import Imported, import_file

    done = Imported()
    try:
        with closing(_found_or_made(data, collection, file, backbone)) as store:
            import_file(store, file, _say, replace=not keep, done=done)
    except KeyboardInterrupt:
        taken = f"{counted(done.taken, 'row')} of {printable(file)}"
        click.echo(f"Interrupted with {taken} in the collection: run the same again to go on.", err=True)
        return INTERRUPTED
    with Collection.open(data, collection) as target:
        build(target)
    click.echo(f"{counted(done.rows, 'row')}: {_ends(done)}", err=True)
    if not done.failed:
        return 0
    return SOME_FAILED if done.taken or done.refused else 1


def _ends(done: Imported) -> str:
    """What became of the rows, without what became of none."""
    counts = {
        "added": done.added,
        "replaced": done.replaced,
        "refused, since their ids are there": done.refused,
        "failed": done.failed,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"


def _found_or_made(data: DataFolder, name: str, file: Path, backbone: str) -> Store:
    """The collection; a new one only when the file has rows, whose vectors are of the backbone."""
    from extractor.backbones.bundle import Bundle
    from extractor.collections import tables
    from extractor.collections.store import Meta, Store, store_path
    from extractor.errors import FingerprintMismatch, InvalidArgument

    path = store_path(data, name)
    if path.exists():
        return Store(path)
    with tables.opened(file) as table:
        if not any(block["ids"] for block in table.blocks):
            raise InvalidArgument(f"{file} has no rows: no collection is made of it")
        bundle = Bundle.of(data, backbone)
        if table.fingerprint != bundle.fingerprint:
            raise FingerprintMismatch(
                f"the file {file}", bundle.fingerprint, table.fingerprint, "Name its backbone with --backbone"
            )
        tables.check_width(table, file, bundle.manifest.dim)
    return Store.create(path, Meta(bundle.fingerprint, bundle.manifest.dim, backbone))


def _say(error: RowError) -> None:
    click.echo(f"failed: row {error.row}: {printable(error.id)}: {printable(error.reason)}", err=True)
