"""Contact sheets: pictures of queries and their neighbours, or of groups, to be looked at.

The same rows give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from extractor import sources
from extractor.errors import InvalidArgument, PenultimateError
from extractor.folders import publishing, refusals
from extractor.images import open_upright
from extractor.settings import Limits
from extractor.text import printable

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

# In pixels. A gutter parts the query from its neighbours.
_TILE, _GAP, _GUTTER, _MARGIN = 150, 14, 36, 36
_FRAME = 4
_CAPTION, _LABELLED_CAPTION = 40, 58
_SPACING = 24
_HEAD = 84
_HEADING = 34  # above a group
_TITLE_SIZE, _LEGEND_SIZE, _HEADING_SIZE = 26, 14, 16
_WIDEST = 1600  # that a sheet becomes for the sake of a text
_LONGEST = 500  # characters that are looked at: more have no room anywhere
_TALLEST = 65_500  # what a JPEG can be
_TALLEST_WEBP = 16_383

COLUMNS = 8
"""Neighbours on one line."""
LEGEND = "The query is on the left; under each neighbour is its cosine distance to the query, 0 for the same."

_PAPER, _INK, _FAINT, _BLANK, _ACCENT = "#ffffff", "#1c2024", "#7d858d", "#eceff1", "#1565c0"


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet.

    Attributes
    ----------
    image : str or bytes or None
        A path or the file's bytes; what cannot be opened is drawn as a blank.
    name : str
        Written under it; of a path, the last part.
    distance : float or None
        Written under it.
    label : str
        Written under it, in `colour`.
    colour : str
        Of the label and of a neighbour's frame, as Pillow understands it; no frame when empty.
    note : str
        Written under it in place of the distance, or of the word "query".
    """

    image: str | bytes | None
    name: str
    distance: float | None = None
    label: str = ""
    colour: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A query and its neighbours, best first."""

    query: Tile
    neighbours: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that belong together, under a heading."""

    heading: str
    tiles: Sequence[Tile]


def neighbour_sheet(
    rows: Sequence[Row], path: Path, *, title: str = "", legend: str = LEGEND, columns: int = COLUMNS
) -> None:
    """Draw each query at the left, framed, and its neighbours beside it, nearest first.

    Parameters
    ----------
    rows : sequence of Row
    path : Path
        A .png, .jpg or .webp file; replaced when it is there.
    title, legend : str
        At the top; the legend only with a title.
    columns : int
        Neighbours on one line; more than that go on below.

    Raises
    ------
    InvalidArgument
        When there are no rows, the suffix is another, or the file cannot be
        written.
    """
    checked_suffix(path)
    if not rows:
        raise InvalidArgument("a sheet needs at least one query")
    _write_sheet(_sheet(rows, title, legend, columns), path)


def group_sheet(
    groups: Sequence[Group], path: Path, *, title: str, legend: str = "", columns: int = 8
) -> None:
    """Draw groups of pictures one below the other, each under its heading.

    Parameters
    ----------
    groups : sequence of Group
    path : Path
        A .png, .jpg or .webp file; replaced when it is there.
    title, legend : str
        At the top; the legend says what stands under a picture.
    columns : int
        Pictures on one line; more than that go on below.

    Raises
    ------
    InvalidArgument
        When there are no groups, the suffix is another, or the file cannot be
        written.
    """
    checked_suffix(path)
    if not groups:
        raise InvalidArgument("a sheet needs at least one group")
    _write_sheet(_group_sheet(groups, title, legend, columns), path)


def checked_suffix(path: Path) -> Path:
    """Return `path` when a sheet can be written there, else raise InvalidArgument."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidArgument(f"a sheet is written as {', '.join(_SUFFIXES)}, not {path.name!r}")
    return path


def _write_sheet(sheet: Image.Image, path: Path) -> None:
    if path.suffix.lower() == ".webp":
        _check_height(sheet.height, _TALLEST_WEBP)
    stream = io.BytesIO()
    sheet.save(stream, format=Image.registered_extensions()[path.suffix.lower()])
    with refusals(path, "--sheet"), publishing(path) as draft:
        draft.write_bytes(stream.getvalue())


def _group_sheet(groups: Sequence[Group], title: str, legend: str, columns: int) -> Image.Image:
    step = _step(tile for group in groups for tile in group.tiles)
    across = min(columns, max(1, *(len(group.tiles) for group in groups)))
    headings = [(group.heading, _HEADING_SIZE) for group in groups]
    texts = [(title, _TITLE_SIZE), (legend, _LEGEND_SIZE), *headings]
    width = _width(across * (_TILE + _GAP) - _GAP, texts)
    heights = [_HEADING + -(-len(group.tiles) // across) * step for group in groups]
    sheet = _paper(width, _MARGIN + _HEAD + sum(heights))
    pen = ImageDraw.Draw(sheet)
    _write_head(pen, title, legend, width)
    y = _MARGIN + _HEAD
    for group, height in zip(groups, heights, strict=True):
        _write(pen, (_MARGIN, y), group.heading, _HEADING_SIZE, _INK, width - 2 * _MARGIN)
        for number, tile in enumerate(group.tiles):
            line, column = divmod(number, across)
            at = (_MARGIN + column * (_TILE + _GAP), y + _HEADING + line * step)
            _draw_tile(sheet, pen, tile, at, tile.colour, _figure(tile))
        y += height
    return sheet


def _width(pictures: int, texts: Iterable[tuple[str, int]]) -> int:
    """Of a sheet: of its pictures, or of the longest of some texts, each with its size."""
    lengths = (ImageFont.load_default(size).getlength(printable(text[-_LONGEST:])) for text, size in texts)
    return 2 * _MARGIN + max(pictures, min(_WIDEST, ceil(max(lengths))))


def _paper(width: int, height: int) -> Image.Image:
    _check_height(height, _TALLEST)
    return Image.new("RGB", (width, height), _PAPER)


def _check_height(height: int, most: int) -> None:
    if height > most:
        raise InvalidArgument(
            f"a sheet of {height:,} pixels is too tall (at most {most:,}): draw fewer pictures"
        )


def _step(tiles: Iterable[Tile]) -> int:
    """From one line of tiles to the next."""
    tall = any(tile.label for tile in tiles)
    return _TILE + (_LABELLED_CAPTION if tall else _CAPTION) + _SPACING


def _write_head(pen: ImageDraw.ImageDraw, title: str, legend: str, width: int) -> None:
    _write(pen, (_MARGIN, _MARGIN - 8), title, _TITLE_SIZE, _INK, width - 2 * _MARGIN)
    _write(pen, (_MARGIN, _MARGIN + 28), legend, _LEGEND_SIZE, _FAINT, width - 2 * _MARGIN)


def _figure(tile: Tile) -> str:
    return tile.note or ("" if tile.distance is None else f"{tile.distance:.4f}")


def _sheet(rows: Sequence[Row], title: str, legend: str, columns: int) -> Image.Image:
    lines = list(_lines(rows, columns))
    step = _step(tile for row in rows for tile in (row.query, *row.neighbours))
    across = max(len(line.neighbours) for line in lines)
    pictures = _TILE + (_GUTTER + across * (_TILE + _GAP) - _GAP if across else 0)
    width = _width(pictures, [(title, _TITLE_SIZE), (legend if title else "", _LEGEND_SIZE)])
    top = _MARGIN + (_HEAD if title else 0)
    sheet = _paper(width, top + len(lines) * step)
    pen = ImageDraw.Draw(sheet)
    if title:
        _write_head(pen, title, legend, width)
    for number, line in enumerate(lines):
        _draw_line(sheet, pen, line, top + number * step)
    return sheet


class _Line(NamedTuple):
    query: Tile | None
    neighbours: Sequence[Tile]


def _lines(rows: Sequence[Row], columns: int) -> Iterator[_Line]:
    for row in rows:
        yield _Line(row.query, row.neighbours[:columns])
        for start in range(columns, len(row.neighbours), columns):
            yield _Line(None, row.neighbours[start : start + columns])


def _draw_line(sheet: Image.Image, pen: ImageDraw.ImageDraw, line: _Line, y: int) -> None:
    if line.query:
        frame = line.query.colour if line.query.note else _ACCENT  # a colour alone is its label's
        _draw_tile(sheet, pen, line.query, (_MARGIN, y), frame, line.query.note or "query")
    for number, tile in enumerate(line.neighbours):
        x = _MARGIN + _TILE + _GUTTER + number * (_TILE + _GAP)
        _draw_tile(sheet, pen, tile, (x, y), tile.colour, _figure(tile))


def _draw_tile(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    tile: Tile,
    at: tuple[int, int],
    frame: str,
    heading: str,
) -> None:
    x, y = at
    sheet.paste(_thumbnail(tile.image), at)
    if frame:
        outside = (x - _FRAME, y - _FRAME, x + _TILE + _FRAME - 1, y + _TILE + _FRAME - 1)
        pen.rectangle(outside, outline=frame, width=_FRAME)
    y += _TILE + 7
    _write(pen, (x, y), heading, 15, _INK, _TILE)
    _write(pen, (x, y + 19), tile.name.rsplit("/", 1)[-1], 12, _FAINT, _TILE)
    _write(pen, (x, y + 36), tile.label, 13, tile.colour or _INK, _TILE)


def _thumbnail(image: str | bytes | None) -> Image.Image:
    """The picture whole, within a square."""
    square = Image.new("RGB", (_TILE, _TILE), _BLANK)
    if image is None:
        return square
    try:
        picture = open_upright(sources.read(image), Limits()).convert("RGB")
    except PenultimateError:
        return square
    return ImageOps.pad(picture, square.size, Image.Resampling.LANCZOS, _BLANK)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str, width: int
) -> None:
    """One line of text, cut at the front when too long: the end of a name tells files apart."""
    text = printable(text[-_LONGEST:])
    font = ImageFont.load_default(size)
    cut = 0
    while cut < len(text) and pen.textlength(_cut(text, cut), font) > width:
        cut += 1
    pen.text(at, _cut(text, cut), colour, font)


def _cut(text: str, count: int) -> str:
    return f"...{text[count:]}" if count else text
