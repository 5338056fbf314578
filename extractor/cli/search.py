"""`penultimate search`: the images of a collection that look like some, and unlike others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from extractor.cli.collections.choosing import filter_option, item_id, warn_of_fields
from extractor.cli.configuration import Number
from extractor.cli.exploring import sheet_option
from extractor.cli.options import data_option, json_option, open_source, source_options_of, source_was_named
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection, Match
    from extractor.collections.filters import Filter
    from extractor.results import Embeds, Vector


@click.command(
    epilog="""\b
Examples:
  penultimate search holiday beach.jpg
  penultimate search holiday beach.jpg dune.jpg --unlike pool.jpg -k 20 --sheet alike.png
  penultimate search holiday beach.jpg --filter "label = 'sea' and width > 1000" --min-score 0.5
  penultimate search holiday beach.jpg --json | jq -r '.matches[].id'
"""
)
@click.argument("collection")
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--unlike", multiple=True, metavar="QUERY", help="What they shall not look like; several times."
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many to find.")
@filter_option
@click.option("--min-score", type=Number(-1, 1), help="Leave out what is less alike.")
@sheet_option("Write a picture of the query and its neighbours here")
@source_options_of("the collection's own")
@data_option
@json_option
def command(
    collection: str,
    queries: tuple[str, ...],
    unlike: tuple[str, ...],
    k: int,
    where: Filter | None,
    min_score: float | None,
    sheet: Path | None,
    data: DataFolder,
    as_json: bool,
    **source: Any,
) -> None:
    """Find the images of COLLECTION that look like QUERY, an image file or an item's id.

    Of several the average is taken, less that of those under --unlike. What is
    an item of the collection already is not embedded again.

    The score is the cosine of the angle between two embeddings, 1 for the
    same; the distance is one minus that. The backbone is the collection's own
    when none is named.
    """
    from extractor.collections import Collection
    from extractor.collections.queries import compose_query

    with Collection.open(data, collection) as target:
        _require_items(target)
        warn_of_fields(target, where)
        examples = [_example(target, text) for text in (*queries, *unlike)]
        vectors = _vectors(target, examples, data, source)
        query = compose_query(vectors[: len(queries)], vectors[len(queries) :])
        (matches,) = target.search([query], k, where=where, min_score=min_score)
        found = [_Found(match, *_said_of(target, match.id)) for match in matches]
        if sheet:
            _draw(target, examples, len(queries), found, sheet)
    asked = {"query": queries[0] if len(queries) == 1 else list(queries), "unlike": list(unlike)}
    click.echo(_as_json(collection, asked, found) if as_json else _as_table(found))


class _Example(NamedTuple):
    """One of the queries: an item of the collection, or an image's bytes."""

    text: str
    id: str | None
    image: bytes


class _Found(NamedTuple):
    """One neighbour, with what is said of it."""

    match: Match
    label: str | None
    metadata: dict[str, Any]


def _require_items(target: Collection) -> None:
    from extractor.errors import NotFound

    if not len(target):
        raise NotFound(
            f"the collection {target.name!r} is empty: add images with "
            f"`penultimate index {target.name} PATH...`"
        )


def _example(target: Collection, text: str) -> _Example:
    """The item of that id or path, unless its file has changed since; or the file."""
    from extractor.errors import NotFound
    from extractor.sources import read

    id = item_id(target, text)
    if id is not None and not _has_changed(target, id):
        return _Example(text, id, b"")
    try:
        return _Example(text, None, read(text))
    except NotFound as error:
        raise NotFound(f"{error}, and the collection {target.name!r} has no item of this id") from None


def _has_changed(target: Collection, id: str) -> bool:
    """Whether there is a file of which the item was made, and it is another by now."""
    from extractor.collections import FileStamp

    known = target.known(id)
    try:
        return bool(known and known.file and known.file != FileStamp.of(known.file.source))
    except (OSError, ValueError):
        return False


def _vectors(
    target: Collection, examples: Sequence[_Example], data: DataFolder, source: dict[str, Any]
) -> list[Vector]:
    """The vectors of all of them; what embeds is opened only where an image needs it, or it is named."""
    images = [example for example in examples if example.id is None]
    embedded: dict[str, Vector] = {}
    if images or source_was_named():
        with open_source(data, **source, own=target.backbone) as embeds:
            target.require(embeds.fingerprint)
            embedded = {example.text: _embed(embeds, example) for example in images}
    return [
        embedded[example.text] if example.id is None else target.get(example.id).vector
        for example in examples
    ]


def _embed(source: Embeds, example: _Example) -> Vector:
    """The embedding of a picture, whose error names its file."""
    (result,) = source.embed([example.image])
    if result.embedding is None:
        assert result.error is not None
        raise type(result.error)(f"{example.text}: {result.error}")
    return result.embedding


def _said_of(target: Collection, id: str) -> tuple[str | None, dict[str, Any]]:
    """Label and metadata of a neighbour; none when it was deleted just now."""
    from extractor.errors import NotFound

    try:
        item = target.get(id)
    except NotFound:
        return None, {}
    return item.label, dict(item.metadata)


def _as_table(found: Sequence[_Found]) -> str:
    labels = [printable(one.label or "") for one in found]
    width = max([len("label"), *map(len, labels)]) + 2 if any(labels) else 0
    heading = f"{'label':<{width}}" if width else ""
    lines = [f"{'rank':>4}  {'score':>8}  {'distance':>8}  {heading}id"]
    lines += [
        f"{rank:>4}  {match.score:>8.4f}  {match.distance:>8.4f}  {label:<{width}}{printable(match.id)}"
        for rank, ((match, *_), label) in enumerate(zip(found, labels, strict=True), 1)
    ]
    return "\n".join(lines)


def _as_json(collection: str, asked: dict[str, Any], found: Sequence[_Found]) -> str:
    matches = [
        {
            "rank": rank,
            "score": match.score,
            "distance": match.distance,
            "id": match.id,
            "label": label,
            "metadata": metadata,
        }
        for rank, (match, label, metadata) in enumerate(found, 1)
    ]
    return json.dumps({"collection": collection, **asked, "matches": matches}, indent=2)


_AVERAGED = "The examples are on the left; under each neighbour is its cosine distance to their average"
_LESS = ", less that of what is unlike"
_UNLIKE = "#c62828"


def _draw(
    target: Collection, examples: Sequence[_Example], like: int, found: Sequence[_Found], sheet: Path
) -> None:
    """The examples below each other, the first `like` of them to be like; the neighbours beside them."""
    from extractor.exploring.pictures import picture_of
    from extractor.sheets import COLUMNS, LEGEND, Row, Tile, neighbour_sheet

    def picture(id: str) -> bytes | str | None:
        known = target.known(id)
        there = known and known.file and Path(known.file.source).is_file()
        return known.file.source if known and known.file and there else picture_of(target, id)

    neighbours = [
        Tile(picture(match.id), match.id, match.distance, label=label or "") for match, label, _ in found
    ]
    shown = [picture(example.id) if example.id else example.image for example in examples]
    marks = [("", "")] * like + [("unlike", _UNLIKE)] * (len(examples) - like)
    tiles = [
        Tile(image, example.text, note=note, colour=colour)
        for image, example, (note, colour) in zip(shown, examples, marks, strict=True)
    ]
    begins = [COLUMNS * line for line in range(len(tiles))]
    ends = [*begins[1:], len(neighbours)]
    rows = [Row(tile, neighbours[at:end]) for tile, at, end in zip(tiles, begins, ends, strict=True)]
    averaged = f"{_AVERAGED}{_LESS if len(examples) > like else ''}."
    legend = averaged if len(examples) > 1 else LEGEND
    neighbour_sheet(rows, sheet, title=f"Neighbours in the collection {target.name}", legend=legend)
    click.echo(f"wrote {printable(sheet)}", err=True)
