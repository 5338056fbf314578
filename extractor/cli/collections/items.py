"""`penultimate collections get`, `set` and `delete`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.collections.choosing import (
    Chosen,
    check_chosen,
    confirm,
    filter_option,
    warn_of_fields,
    yes_option,
)
from extractor.cli.facts import pair
from extractor.cli.options import data_option, json_option
from extractor.errors import InvalidArgument
from extractor.folders import publishing, refusals
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.collections.filters import Filter

ids_argument = click.argument("ids", nargs=-1, metavar="[ID...]")


@click.command(
    epilog="""\b
Examples:
  penultimate collections get holiday photos/chelsea.png
  penultimate collections get holiday --filter "width > 3000" --limit 20 --json
"""
)
@click.argument("collection")
@ids_argument
@filter_option
@click.option("--limit", type=click.IntRange(min=1), help="At most so many items.")
@click.option("--vectors", is_flag=True, help="With --json, the vectors as well.")
@click.option(
    "--thumbnail", type=click.Path(dir_okay=False, path_type=Path), help="Write the item's thumbnail here."
)
@data_option
@json_option
def get(
    collection: str,
    ids: tuple[str, ...],
    where: Filter | None,
    limit: int | None,
    vectors: bool,
    thumbnail: Path | None,
    data: DataFolder,
    as_json: bool,
) -> int:
    """Show items of COLLECTION: those of these IDs (or paths), those that a filter means, or all."""
    from extractor.collections import Collection

    if ids:
        check_chosen(ids, where)
    with Collection.open(data, collection) as target:
        warn_of_fields(target, where)
        chosen = Chosen(target, ids, where)
        items = _by_id(target, chosen) if ids else target.items(where, vectors=vectors, limit=limit or -1)
        if thumbnail:
            _write_thumbnail(target, ids, thumbnail)
        (_echo_json if as_json else _echo)(_as_object(item, vectors) for item in items)
    return chosen.exit_code


def _by_id(target: Collection, chosen: Chosen) -> Iterator[Any]:
    return (target.get(id) for id in chosen)


def _as_object(item: Any, vectors: bool) -> dict[str, Any]:
    return {
        "id": item.id,
        "label": item.label,
        "metadata": dict(item.metadata),
        "digest": item.digest.hex(),
        "source": item.file.source if item.file else None,
        **({"vector": item.vector.tolist()} if vectors else {}),
    }


def _echo_json(items: Iterable[dict[str, Any]]) -> None:
    """One document, an item a line, however many there are."""
    before = "["
    for item in items:
        click.echo(f"{before}\n{json.dumps(item)}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


def _echo(items: Iterable[dict[str, Any]]) -> None:
    for item in items:
        label = f"  label={printable(item['label'])}" if item["label"] is not None else ""
        facts = "".join(f"  {key}={_shown(value)}" for key, value in item["metadata"].items())
        click.echo(f"{printable(item['id'])}{label}{printable(facts)}")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_thumbnail(target: Collection, ids: tuple[str, ...], path: Path) -> None:
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        raise InvalidArgument(f"a thumbnail is a JPEG: name a file that ends in .jpg, not {path.name!r}")
    (id,) = found if len(found := list(Chosen(target, ids, None))) == 1 else (None,)
    if id is None:
        raise InvalidArgument("--thumbnail is for one item: name its id")
    jpeg = target.thumbnail(id)
    if jpeg is None:
        raise InvalidArgument(
            f"there is no thumbnail of {id!r}: the collection {target.name!r} keeps none, or none of it"
        )
    with refusals(path, "--thumbnail"), publishing(path) as draft:
        draft.write_bytes(jpeg)


@click.command(
    "set",
    epilog="""\b
Examples:
  penultimate collections set holiday photos/chelsea.png --label cat
  penultimate collections set holiday --filter "label is null" --metadata season=winter --metadata draft=null
""",
)
@click.argument("collection")
@ids_argument
@filter_option
@click.option("--label", help="The label that they shall have.")
@click.option("--no-label", is_flag=True, help="Take their label away.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A fact to keep; KEY=null removes it.")
@data_option
def set_(
    collection: str,
    ids: tuple[str, ...],
    where: Filter | None,
    label: str | None,
    no_label: bool,
    metadata: tuple[str, ...],
    data: DataFolder,
) -> int:
    """Change the label or metadata of items of COLLECTION; other facts of them stay."""
    from extractor.collections import Collection
    from extractor.collections.item import KEEP

    check_chosen(ids, where)
    if label is not None and no_label:
        raise click.UsageError("--label and --no-label exclude each other")
    facts = dict(pair(text) for text in metadata)
    if not (facts or no_label or label is not None):
        raise click.UsageError("say what to change: --label, --no-label or --metadata KEY=VALUE")
    new = label if no_label or label is not None else KEEP
    with Collection.open(data, collection) as target:
        target.require_fields(where)
        chosen = Chosen(target, ids, where)
        changed = sum(target.set(batch, label=new, metadata=facts) for batch in chosen.batches())
    click.echo(f"changed {counted(changed, 'item')} of {collection}", err=True)
    return chosen.exit_code


@click.command(
    epilog="""\b
Examples:
  penultimate collections delete holiday photos/text.png --yes
  penultimate collections delete holiday --filter "height < 100"
"""
)
@click.argument("collection")
@ids_argument
@filter_option
@yes_option
@data_option
def delete(collection: str, ids: tuple[str, ...], where: Filter | None, yes: bool, data: DataFolder) -> int:
    """Delete items of COLLECTION; the image files stay. Asks before, on a terminal."""
    from extractor.collections import Collection

    check_chosen(ids, where)
    with Collection.open(data, collection) as target:
        target.require_fields(where)
        chosen = Chosen(target, ids, where)
        count = len(ids) if where is None else sum(1 for _ in target.items(where))
        if count:
            confirm(f"Delete {counted(count, 'item')} of the collection {collection!r}?", yes=yes)
        deleted = sum(target.delete(batch) for batch in chosen.batches())
        click.echo(f"deleted {counted(deleted, 'item')}; {collection} holds {len(target):,}", err=True)
    return chosen.exit_code
