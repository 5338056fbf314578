"""`penultimate clusters`: the images of a collection in groups of their kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.exploring import SHEET_GROUPS, SHEET_PICTURES, draw, only_read, opened, sheet_option, tile
from extractor.cli.options import data_option, json_option
from extractor.cli.progress import progress
from extractor.errors import InvalidArgument
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.exploring.clusters import Cluster, Clusters
    from extractor.exploring.rows import Rows
    from extractor.sheets import Group

_LEGEND = "The most typical first. Under each picture is its distance to the centre of its cluster."
_DRAWN = 96
_NAMED = 3
_OVERLAPPING = 0.1  # a silhouette


def _as_number(_ctx: click.Context, _param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if value.isdecimal() and int(value):
        return int(value)
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a whole number from 1 on")


@click.command(
    epilog="""\b
Examples:
  penultimate clusters holiday
  penultimate clusters holiday -k 8 --sheet kinds.png
  penultimate clusters holiday --sheets kinds
  penultimate clusters holiday --json | jq '.clusters[0].members'
"""
)
@click.argument("collection")
@click.option(
    "-k",
    default="auto",
    show_default=True,
    metavar="N|auto",
    callback=_as_number,
    help="How many clusters; auto takes the number up to 50 of the best silhouette.",
)
@sheet_option("Write a picture of the clusters' most typical images here")
@click.option(
    "--sheets",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a larger picture of each cluster into this folder, which must be new or empty.",
)
@data_option
@json_option
@only_read()
def command(
    collection: str, k: int | None, sheet: Path | None, sheets: Path | None, data: DataFolder, as_json: bool
) -> None:
    """Divide the images of COLLECTION into clusters, the largest first.

    By k-means over the principal components of the embeddings. The silhouette
    says how well they are told apart: 1 for far apart, 0 for overlapping.
    """
    from extractor.exploring.clusters import find_clusters

    _require_empty(sheets)
    with opened(data, collection) as (target, rows):
        found = find_clusters(rows, k, progress)
        if sheet:
            _draw(target, rows, found.clusters, sheet)
        if sheets:
            _draw_each(target, rows, found.clusters, sheets)
        for piece in _as_json(collection, rows, found) if as_json else _as_table(rows, found.clusters):
            click.echo(piece)
    click.echo("; ".join(_said(found, k)), err=True)


def _said(found: Clusters, asked: int | None) -> Iterator[str]:
    """What the numbers mean."""
    there = counted(len(found.clusters), "cluster")
    if asked and len(found.clusters) < asked:
        yield f"{there} instead of {asked}: the others would be empty, since no more images differ"
    else:
        yield there + (f", the best of {counted(len(found.tried), 'number')} tried" if found.tried else "")
    overlapping = ", so they overlap: there are no clusters to speak of"
    yield f"silhouette {found.silhouette:.2f}" + (overlapping if found.silhouette < _OVERLAPPING else "")


def _require_empty(folder: Path | None) -> None:
    if folder and folder.exists() and any(folder.iterdir()):
        raise InvalidArgument(f"the folder {folder} is not empty: name a new one with --sheets")


def _as_table(rows: Rows, clusters: Sequence[Cluster]) -> Iterator[str]:
    yield f"cluster  {'images':>8}  most typical"
    for number, cluster in enumerate(clusters, 1):
        labels = f"  ({_labels(cluster)})" if cluster.labels else ""
        yield f"{number:>7}  {len(cluster):>8}  {printable(rows.id(cluster.places[0]))}{labels}"


def _labels(cluster: Cluster) -> str:
    named = [f"{printable(label)} {count}" for label, count in cluster.labels[:_NAMED]]
    return ", ".join(named) + (", ..." if len(cluster.labels) > _NAMED else "")


def _as_json(collection: str, rows: Rows, found: Clusters) -> Iterator[str]:
    """One document, a member a line: as a whole it would not fit into the memory."""
    document = {"collection": collection, "items": len(rows), "silhouette": found.silhouette}
    yield json.dumps({**document, "tried": found.tried})[:-1] + ', "clusters": ['
    for number, cluster in enumerate(found.clusters):
        facts = {"images": len(cluster), "labels": dict(cluster.labels)}
        yield (", " if number else "  ") + json.dumps(facts)[:-1] + ', "members": ['
        yield from _members_as_json(rows, cluster)
        yield "  ]}"
    yield "]}"


def _members_as_json(rows: Rows, cluster: Cluster) -> Iterator[str]:
    between = "   "
    for place, distance in zip(cluster.places, cluster.distances, strict=True):
        member = {"id": rows.id(int(place)), "distance": round(float(distance), 6)}
        yield between + json.dumps(member)
        between = "  ,"


def _draw(target: Collection, rows: Rows, clusters: Sequence[Cluster], sheet: Path) -> None:
    drawn = [
        _group(target, rows, number, cluster, SHEET_PICTURES)
        for number, cluster in enumerate(clusters[:SHEET_GROUPS], 1)
    ]
    shown = f" (the {len(drawn)} largest of {len(clusters)})" if len(drawn) < len(clusters) else ""
    draw(drawn, sheet, f"Clusters in the collection {target.name}{shown}", _LEGEND)


def _draw_each(target: Collection, rows: Rows, clusters: Sequence[Cluster], folder: Path) -> None:
    from extractor.sheets import group_sheet

    width = len(str(len(clusters)))
    for number, cluster in enumerate(progress(clusters, len(clusters), "draw", " sheets"), 1):
        path = folder / f"cluster-{number:0{width}}.png"
        group = _group(target, rows, number, cluster, _DRAWN)
        group_sheet([group], path, title=f"Cluster {number} of {target.name}", legend=_LEGEND)
    click.echo(f"wrote {counted(len(clusters), 'sheet')} into {printable(folder)}", err=True)


def _group(target: Collection, rows: Rows, number: int, cluster: Cluster, most: int) -> Group:
    from extractor.sheets import Group

    shown = f", {most} shown" if len(cluster) > most else ""
    labels = f": {_labels(cluster)}" if cluster.labels else ""
    tiles = [
        tile(target, rows.id(place), f"{distance:.4f}", rows.label(place))
        for place, distance in zip(cluster.places[:most].tolist(), cluster.distances.tolist(), strict=False)
    ]
    return Group(f"{number}: {counted(len(cluster), 'image')}{shown}{labels}", tiles)
