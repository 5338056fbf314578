"""`penultimate map`: a collection as an interactive map in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.exploring import only_read, opened
from extractor.cli.options import data_option
from extractor.cli.places import announce_folder
from extractor.cli.progress import progress
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.exploring.maps import Layout, Method
    from extractor.exploring.rows import Rows

_SIDE = 128  # pixels of an embedded picture


@click.command(
    epilog="""\b
Examples:
  penultimate map holiday holiday.html
  penultimate map holiday holiday.html --method umap --pictures 1000
"""
)
@click.argument("collection")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.html")
@click.option(
    "--method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    show_default=True,
    help="umap keeps neighbours together; it needs the `map` extra.",
)
@click.option(
    "--points",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Of more images than that, so many are chosen at random.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=5_000,
    show_default=True,
    help="How many of the points have their picture in the file, spread over the map; each takes about 5 kB.",
)
@data_option
@only_read()
def command(collection: str, out: Path, method: Method, points: int, pictures: int, data: DataFolder) -> None:
    """Write COLLECTION as an interactive map to OUT.html: what looks alike lies near each other.

    The file needs nothing else and shows nothing to anybody: open it in a
    browser. Drag and scroll to move and zoom, point at an image to see it, click
    to keep it, look for an id; labels have colours and can be switched off.
    """
    from extractor.exploring.maps import lay_out, require_method
    from extractor.exploring.pages import page
    from extractor.folders import publishing, refusals

    if out.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument(f"a map is written as .html, not {out.name!r}")
    require_method(method)
    announce_folder(out)
    with opened(data, collection) as (target, rows):
        layout = lay_out(rows, method, points, progress)
        html = page(collection, rows, layout, _pictures(target, rows, layout, pictures))
    with refusals(out, "OUT.html"), publishing(out) as draft:
        draft.write_text(html, "utf-8")
    click.echo(
        f"wrote {printable(out)} ({counted(len(layout.places), 'image')}, {out.stat().st_size / 1e6:.1f} MB)",
        err=True,
    )


def _pictures(target: Collection, rows: Rows, layout: Layout, count: int) -> dict[int, bytes]:
    """The pictures of some points, by the points' numbers."""
    from extractor.exploring.maps import spread
    from extractor.exploring.pictures import picture_of, small_jpeg

    chosen = spread(layout.points, count).tolist()
    found = {}
    for point in progress(chosen, len(chosen), "draw"):
        picture = picture_of(target, rows.id(int(layout.places[point])))
        if jpeg := small_jpeg(picture, _SIDE):
            found[point] = jpeg
    return found
