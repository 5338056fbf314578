"""`penultimate collections verify`, `repair` and `reindex`."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.configuration import SIZE, Number
from extractor.cli.main import SOME_FAILED, interruption
from extractor.cli.options import data_option, json_option, open_source, source_options_of
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections.repair import Mended
    from extractor.collections.verify import Verification


@click.command(
    epilog="""\b
Example: penultimate collections verify holiday

\b
Exit codes: 0 all is as it was written, 1 it is not (listed).
"""
)
@click.argument("collection")
@data_option
@json_option
def verify(collection: str, data: DataFolder, as_json: bool) -> int:
    """Read all of COLLECTION and compare it with its checksums; it can be used meanwhile."""
    from extractor.collections.store import Store
    from extractor.collections.verify import verify

    with closing(Store.find(data, collection)) as store:
        found = verify(store)
    if as_json:
        faults = [fault._asdict() for fault in found.named]
        click.echo(json.dumps({**dataclasses.asdict(found), "named": faults, "sound": found.sound}, indent=2))
    else:
        _say_found(found, collection)
    return 0 if found.sound else 1


def _say_found(found: Verification, name: str) -> None:
    for text in found.integrity:
        click.echo(f"SQLite: {printable(text)}", err=True)
    if found.index:
        click.echo(f"damaged: the saved index: {printable(found.index)}", err=True)
    for fault in found.named:
        click.echo(f"damaged: {printable(fault.id)}: {printable(fault.reason)}", err=True)
    click.echo(
        f"{counted(found.items, 'item')}, {counted(found.vectors, 'vector')}, "
        f"{counted(found.thumbnails, 'thumbnail')}: {found.faults:,} damaged, "
        f"{counted(sum(found.orphans.values()), 'row')} of no item; "
        f"the files of {counted(found.files_gone, 'item')} are gone; "
        + ("all is well" if found.sound else f"run `penultimate collections repair {name}`")
    )


@click.command(epilog="Example: penultimate collections repair holiday")
@click.argument("collection")
@click.option(
    "--drop", is_flag=True, help="Delete the items that cannot be mended, as when their file is gone."
)
@source_options_of("the collection's own")
@data_option
def repair(collection: str, drop: bool, data: DataFolder, **source: Any) -> int:
    """Embed what is missing or damaged in COLLECTION again, from its file, and put flipped bits right."""
    from extractor.collections.repair import repair
    from extractor.collections.saved import SavedIndex
    from extractor.collections.store import Store

    with (
        closing(Store.find(data, collection)) as store,
        open_source(data, **source, own=store.meta.backbone) as embeds,
    ):
        done = repair(store, embeds, _say_mended, drop=drop)
        damage = SavedIndex(store).damage()
    click.echo(
        f"{done.embedded:,} embedded again, {done.changed:,} from files with other bytes by now, "
        f"{done.restored:,} with a flipped bit put right, {done.emptied:,} without their metadata, "
        f"{done.dropped:,} deleted, {counted(done.orphans, 'row')} that belonged to no item removed, "
        f"{done.failed:,} could not be mended",
        err=True,
    )
    if done.sound:
        if damage:
            _mend_index(data, collection, damage)
        return 0
    click.echo(
        "index the images of what cannot be mended again, delete it with --drop, or bring back a backup",
        err=True,
    )
    return SOME_FAILED if done.embedded or done.changed or done.restored else 1


def _mend_index(data: DataFolder, collection: str, damage: str) -> None:
    """Make the index anew, which needs all vectors."""
    from extractor.collections import Collection

    with Collection.open(data, collection) as target:
        target.reindex()
    click.echo(f"the saved index was made anew: {printable(damage)}", err=True)


def _say_mended(mended: Mended) -> None:
    click.echo(f"{mended.outcome}: {printable(mended.id)}: {printable(mended.reason)}", err=True)


@click.command(
    epilog="""\b
Examples:
  penultimate collections reindex holiday --kind exact-fp16
  penultimate collections reindex holiday --latency-ms 20 --memory 2GiB
"""
)
@click.argument("collection")
@click.option(
    "--kind",
    type=click.Choice(["auto", "exact", "exact-fp16", "ivf", "hnsw"]),
    help="The kind of index; auto chooses by the collection's size.",
)
@click.option("--latency-ms", type=Number(min=0, min_open=True), help="What one query may take, for auto.")
@click.option("--memory", type=SIZE, help="What the index may take, such as 2GiB, for auto.")
@data_option
@json_option
@interruption("The index, and how it is to be made, are as they were.")
def reindex(
    collection: str,
    kind: str | None,
    latency_ms: float | None,
    memory: int | None,
    data: DataFolder,
    as_json: bool,
) -> None:
    """Make the index of COLLECTION anew, and so from now on; searches go on meanwhile.

    Without an option it is made as it was set before.
    """
    from extractor.collections import Collection

    given = {"kind": kind, "latency_ms": latency_ms, "memory": memory}
    settings = {name: value for name, value in given.items() if value is not None}
    with Collection.open(data, collection) as target:
        target.reindex(settings or None)
        index = target.info().index
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(index), indent=2))
        return
    recall = "" if index.recall is None else f"; recall@10 {index.recall:.3f}"
    click.echo(f"{index.reason}{recall}")
