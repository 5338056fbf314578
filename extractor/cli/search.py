"""`penultimate search`: the images of a collection that look like one image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.options import data_option, json_option, open_source, source_options
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection, Match
    from extractor.results import Embeds, Vector


@click.command(
    epilog="""\b
Examples:
  penultimate search holiday beach.jpg
  penultimate search holiday beach.jpg -k 20 --sheet alike.png
  penultimate search holiday beach.jpg --json | jq -r '.matches[].id'
"""
)
@click.argument("collection")
@click.argument("image")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many to find.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a picture of the image and its neighbours here (PNG, JPEG or WebP).",
)
@source_options
@data_option
@json_option
def command(
    collection: str,
    image: str,
    k: int,
    sheet: Path | None,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> None:
    """Find the images of COLLECTION that look like IMAGE, a file.

    The score is the cosine of the angle between two embeddings, 1 for the
    same; the distance is one minus that. The backbone is the collection's own
    when none is named.
    """
    from extractor.collections import Collection
    from extractor.sheets import checked_suffix
    from extractor.sources import read

    if sheet:
        checked_suffix(sheet)
    picture = read(image)
    with Collection.open(data, collection) as target:
        _require_items(target)
        with open_source(data, backbone, server, provider, precision, own=target.backbone) as source:
            target.require(source.fingerprint)
            (matches,) = target.search([_embed(source, image, picture)], k)
        if sheet:
            _draw(target, image, matches, sheet)
    click.echo(_as_json(collection, image, matches) if as_json else _as_table(matches))


def _require_items(target: Collection) -> None:
    from extractor.errors import NotFound

    if not len(target):
        raise NotFound(
            f"the collection {target.name!r} is empty: add images with "
            f"`penultimate index {target.name} PATH...`"
        )


def _embed(source: Embeds, image: str, picture: bytes) -> Vector:
    """The embedding of a picture, whose error names its file."""
    (result,) = source.embed([picture])
    if result.embedding is None:
        assert result.error is not None
        raise type(result.error)(f"{image}: {result.error}")
    return result.embedding


def _as_table(matches: Sequence[Match]) -> str:
    lines = [f"{'rank':>4}  {'score':>8}  {'distance':>8}  id"]
    lines += [
        f"{rank:>4}  {match.score:>8.4f}  {match.distance:>8.4f}  {printable(match.id)}"
        for rank, match in enumerate(matches, 1)
    ]
    return "\n".join(lines)


def _as_json(collection: str, image: str, matches: Sequence[Match]) -> str:
    found = [
        {"rank": rank, "score": match.score, "distance": match.distance, "id": match.id}
        for rank, match in enumerate(matches, 1)
    ]
    return json.dumps({"collection": collection, "query": image, "matches": found}, indent=2)


def _draw(target: Collection, image: str, matches: Sequence[Match], sheet: Path) -> None:
    from extractor.sheets import Row, Tile, neighbour_sheet

    neighbours = [
        Tile(
            file.source if (known := target.known(match.id)) and (file := known.file) else None,
            match.id,
            match.distance,
        )
        for match in matches
    ]
    neighbour_sheet(
        [Row(Tile(image, image), neighbours)], sheet, title=f"Neighbours in the collection {target.name}"
    )
    click.echo(f"wrote {printable(sheet)}", err=True)
