"""`penultimate outliers`: images of a collection that are unlike all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.exploring import draw, only_read, opened, sheet_option, tile
from extractor.cli.options import data_option, json_option
from extractor.cli.progress import progress
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.exploring.outliers import Outliers

_DRAWN = 96


@click.command(
    epilog="""\b
Examples:
  penultimate outliers holiday
  penultimate outliers holiday --top 50 --sheet odd.png
  penultimate outliers holiday --json | jq -r '.outliers[].id'
"""
)
@click.argument("collection")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many to list.")
@click.option(
    "-k",
    type=click.IntRange(min=1),
    help="To how many of the nearest images the distance is taken. [default: 10, or all there are]",
)
@sheet_option("Write a picture of them here")
@data_option
@json_option
@only_read()
def command(
    collection: str, top: int, k: int | None, sheet: Path | None, data: DataFolder, as_json: bool
) -> None:
    """Find the images of COLLECTION that are unlike all others, the oddest first.

    The measure is the mean cosine distance to the k images that are most like
    it. Fewer than k copies of an odd image do not hide each other.
    """
    from extractor.exploring.outliers import find_outliers

    with opened(data, collection) as (target, rows):
        found = find_outliers(rows, top, k, progress)
        count = len(rows)
        if sheet:
            _draw(target, found, sheet)
    click.echo(_as_json(collection, count, found) if as_json else _as_table(found))
    click.echo(
        f"mean distance to the {found.k} nearest; half of the {counted(count, 'image')} have less than "
        f"{found.median:.4f}",
        err=True,
    )


def _as_table(found: Outliers) -> str:
    lines = [f"{'rank':>4}  {'distance':>8}  id"]
    lines += [
        f"{rank:>4}  {image.distance:>8.4f}  {printable(image.id)}"
        for rank, image in enumerate(found.images, 1)
    ]
    return "\n".join(lines)


def _as_json(collection: str, count: int, found: Outliers) -> str:
    images = [
        {"rank": rank, "distance": image.distance, "id": image.id}
        for rank, image in enumerate(found.images, 1)
    ]
    document = {"collection": collection, "items": count, "k": found.k, "median": found.median}
    return json.dumps({**document, "outliers": images}, indent=2)


def _draw(target: Collection, found: Outliers, sheet: Path) -> None:
    from extractor.sheets import Group

    tiles = [tile(target, image.id, f"{image.distance:.4f}") for image in found.images[:_DRAWN]]
    legend = f"Under each picture is its mean distance to the {found.k} nearest images."
    group = Group(f"Half of all images have less than {found.median:.4f}", tiles)
    draw([group], sheet, f"The oddest in the collection {target.name}", legend)
