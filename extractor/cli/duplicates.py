"""`penultimate duplicates`: images of a collection that are the same or nearly so."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.exploring import SHEET_GROUPS, SHEET_PICTURES, draw, only_read, opened, sheet_option, tile
from extractor.cli.options import data_option, json_option, open_source, source_options_of
from extractor.cli.progress import progress
from extractor.settings import DataFolder
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection
    from extractor.exploring.duplicates import Group, Member

_LEGEND = "Under each picture is its likeness to the first of its group, 1 for the same."
_CHAINS = " What is linked through others need not be alike: raise the threshold."


@click.command(
    epilog="""\b
Examples:
  penultimate duplicates holiday
  penultimate duplicates holiday --threshold 0.99 --sheet twins.png
  penultimate duplicates holiday --image new.jpg
  penultimate duplicates holiday --json | jq -r '.groups[].members[1:][].id'
"""
)
@click.argument("collection")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="From what likeness (the cosine of two embeddings) on two images belong together; "
    "a series of one kind needs 0.98 or more.",
)
@click.option("--image", help="Compare this one image file with the collection.")
@sheet_option("Write a picture of the groups here")
@source_options_of("the collection's own")
@data_option
@json_option
def command(
    collection: str,
    threshold: float,
    image: str | None,
    sheet: Path | None,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> None:
    """Find the images of COLLECTION that are the same or nearly so.

    Images are in one group when their files have the same bytes, or when they
    are linked by pairs that reach the threshold. The first of a group is the
    one that was added first. Nothing is deleted.

    With --image, one file is compared with the whole collection, which need
    not hold it; only then something is embedded.
    """
    if image:
        _check(collection, image, threshold, sheet, data, as_json, (backbone, server, provider, precision))
        return
    from extractor.exploring.duplicates import find_duplicates

    with only_read(), opened(data, collection) as (target, rows):
        tally = _Tally(threshold)
        groups = map(tally.counted, find_duplicates(rows, threshold, progress))
        count = len(rows)
        document = {"collection": collection, "threshold": threshold, "items": count}
        _print(_as_json(document, groups) if as_json else _as_table(groups))
        if sheet:
            _draw(target, tally, sheet)
    _summarise(tally, count)


def _check(
    name: str,
    image: str,
    threshold: float,
    sheet: Path | None,
    data: DataFolder,
    as_json: bool,
    source_of: tuple[str, str | None, str, str],
) -> None:
    """Compare one image with the collection."""
    from extractor.collections import Collection
    from extractor.exploring.duplicates import find_duplicates_of
    from extractor.sources import read

    picture = read(image)
    with Collection.open(data, name) as target:
        with open_source(data, *source_of, own=target.backbone) as source:
            target.require(source.fingerprint)
            (result,) = source.embed([picture])
        if result.embedding is None:
            assert result.error is not None
            raise type(result.error)(f"{image}: {result.error}")
        digest = hashlib.sha256(picture).digest()
        found = find_duplicates_of(target, result.embedding, digest, threshold)
        if sheet:
            _draw_check(target, image, found, sheet)
    if as_json:
        members = [_member_as_json(member) for member in found]
        document = {"collection": name, "query": image, "threshold": threshold, "duplicates": members}
        click.echo(json.dumps(document, indent=2))
    elif found:
        click.echo("\n".join(["   score  file   id", *(_line(member, member.exact) for member in found)]))
    there = counted(len(found), "duplicate")
    click.echo(f"{there} of {printable(image)} in the collection {name!r}", err=True)


def _print(pieces: Iterator[str]) -> None:
    """As long as somebody reads; the rest is gone through all the same, for the sheet and the summary."""
    with suppress(BrokenPipeError):
        for piece in pieces:
            click.echo(piece)
    deque(pieces, maxlen=0)


class _Tally:
    """What is said of all groups in the end; of each is kept only what a sheet shows."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.groups = self.images = 0
        self.largest: list[tuple[str, Sequence[Member]]] = []
        self.chained: int | None = None

    def counted(self, group: Group) -> Group:
        """The same group, once it is taken note of."""
        self.groups += 1
        self.images += len(group.members)
        if len(self.largest) < SHEET_GROUPS:
            heading = _heading(self.groups, group, self.threshold)
            self.largest.append((heading, group.members[:SHEET_PICTURES]))
        if self.chained is None and not group.exact and group.lowest < self.threshold - 0.05:
            self.chained = self.groups
        return group


def _heading(number: int, group: Group, threshold: float) -> str:
    count = len(group.members)
    shown = f", {SHEET_PICTURES} shown" if count > SHEET_PICTURES else ""
    alike = "all of the same bytes" if group.exact else "alike"
    if group.lowest < threshold:
        alike = f"linked through others: down to {group.lowest:.2f} like the first"
    return f"{number}: {counted(count, 'image')}{shown}, {alike}"


def _as_table(groups: Iterable[Group]) -> Iterator[str]:
    for number, group in enumerate(groups, 1):
        if number == 1:
            yield "group     score  file   id"
        first, *others = group.members
        yield f"{number:>5}  {first.score:>8.4f}  first  {printable(first.id)}"
        yield from (f"{number:>5}  {_line(member, member.exact)}" for member in others)


def _as_json(document: Mapping[str, object], groups: Iterable[Group]) -> Iterator[str]:
    """One document, a group a line: as a whole it would not fit into the memory."""
    yield json.dumps(document)[:-1] + ', "groups": ['
    between = " "
    for group in groups:
        yield between + json.dumps(_group_as_json(group))
        between = ","
    yield "]}"


def _line(member: Member, same: bool) -> str:
    return f"{member.score:>8.4f}  {'same' if same else '':<5}  {printable(member.id)}"


def _group_as_json(group: Group) -> dict[str, object]:
    members = [_member_as_json(member) for member in group.members]
    return {"exact": group.exact, "lowest": group.lowest, "members": members}


def _member_as_json(member: Member) -> dict[str, object]:
    return {"id": member.id, "score": member.score, "exact": member.exact}


def _summarise(tally: _Tally, count: int) -> None:
    click.echo(
        f"{counted(tally.groups, 'group')}, {counted(tally.images, 'image')} in all: "
        f"{tally.images - tally.groups:,} more than one of each; {count:,} were compared",
        err=True,
    )
    if tally.chained:
        click.echo(
            f"Group {tally.chained} is linked through images in between: not all of it is alike. "
            f"For a series of one kind, raise --threshold over {tally.threshold:g}.",
            err=True,
        )


def _draw(target: Collection, tally: _Tally, sheet: Path) -> None:
    from extractor.sheets import Group as Drawn

    drawn = [
        Drawn(
            heading,
            [
                tile(target, member.id, _note(member) if place else "first")
                for place, member in enumerate(members)
            ],
        )
        for heading, members in tally.largest
    ]
    shown = f" (the {len(drawn)} largest of {tally.groups:,} groups)" if len(drawn) < tally.groups else ""
    legend = _LEGEND + (_CHAINS if tally.chained else "")
    draw(drawn, sheet, f"Duplicates in the collection {target.name}{shown}", legend)


def _note(member: Member) -> str:
    return f"{member.score:.4f}{' same file' if member.exact else ''}"


def _draw_check(target: Collection, image: str, found: Sequence[Member], sheet: Path) -> None:
    from extractor.sheets import Row, Tile, neighbour_sheet

    neighbours = [tile(target, member.id, _note(member)) for member in found[: 2 * SHEET_PICTURES]]
    neighbour_sheet([Row(Tile(image, image), neighbours)], sheet)
    click.echo(f"wrote {printable(sheet)}", err=True)
