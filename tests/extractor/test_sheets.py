"""Contact sheets: every picture in its place, the same bytes each time."""

import errno
import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from extractor.errors import InvalidArgument
from extractor.sheets import Group, Row, Tile, group_sheet, neighbour_sheet

TILE = 150


def picture(colour: str, size: tuple[int, int] = (40, 40)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def drawn(path: Path, *rows: Row, **options: object) -> Image.Image:
    neighbour_sheet(rows, path, **options)
    with Image.open(path) as image:
        return image.convert("RGB")


def colours(image: Image.Image) -> dict[tuple[int, int, int], int]:
    """How many pixels each colour has."""
    return {colour: count for count, colour in image.getcolors(image.width * image.height)}


def test_every_picture_is_drawn_once(tmp_path: Path) -> None:
    """A query and its neighbours each fill one tile."""
    row = Row(Tile(picture("red"), "q"), [Tile(picture("lime"), "a", 0.1), Tile(picture("blue"), "b", 0.2)])
    counts = colours(drawn(tmp_path / "sheet.png", row))
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        assert counts[colour] == TILE * TILE


def test_the_query_is_left_of_its_neighbours_in_order(tmp_path: Path) -> None:
    """Along the first line: query, nearest, next."""
    row = Row(Tile(picture("red"), "q"), [Tile(picture("lime"), "a"), Tile(picture("blue"), "b")])
    image = drawn(tmp_path / "sheet.png", row)
    line = [image.getpixel((x, 100)) for x in range(image.width)]
    assert line.index((255, 0, 0)) < line.index((0, 255, 0)) < line.index((0, 0, 255))


def test_a_long_row_goes_on_below(tmp_path: Path) -> None:
    """Ten neighbours, four on a line, make three lines, and none is lost."""
    row = Row(Tile(picture("red"), "q"), [Tile(picture("lime"), str(n), n / 10) for n in range(10)])
    short = drawn(tmp_path / "short.png", Row(row.query, row.neighbours[:4]), columns=4)
    long = drawn(tmp_path / "long.png", row, columns=4)
    assert long.width == short.width
    assert long.height > 2 * short.height
    assert colours(long)[0, 255, 0] == 10 * TILE * TILE


def test_a_label_s_colour_frames_its_picture(tmp_path: Path) -> None:
    """Without a colour there is no frame."""
    plain = Row(Tile(picture("red"), "q"), [Tile(picture("lime"), "a", 0.1)])
    framed = Row(plain.query, [Tile(picture("lime"), "a", 0.1, "good", "#ff00ff")])
    assert (255, 0, 255) not in colours(drawn(tmp_path / "plain.png", plain))
    assert colours(drawn(tmp_path / "framed.png", framed))[255, 0, 255] > 4 * TILE


def test_a_wide_picture_is_shown_whole(tmp_path: Path) -> None:
    """Its sides are not cut off, nor is it squeezed."""
    wide = picture("red", (300, 100))
    assert colours(drawn(tmp_path / "sheet.png", Row(Tile(wide, "q"), [])))[255, 0, 0] == TILE * 50


@pytest.mark.parametrize("image", [None, b"no picture", "/no/such/file.jpg"])
def test_what_cannot_be_opened_is_a_blank(tmp_path: Path, image: str | bytes | None) -> None:
    """A sheet is drawn although a file has gone meanwhile."""
    row = Row(Tile(picture("red"), "q"), [Tile(image, "gone", 0.3)])
    assert colours(drawn(tmp_path / "sheet.png", row))[0xEC, 0xEF, 0xF1] == TILE * TILE


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Also with names that are too long for their tile and outside ASCII."""
    row = Row(
        Tile(picture("red"), "ü" * 300), [Tile(picture("lime"), "x/" + "y" * 99, 0.25, "z" * 99, "red")]
    )
    for name in ("a.png", "b.png"):
        neighbour_sheet([row], tmp_path / name, title="t" * 300)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("name", ["sheet.gif", "sheet"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    """With the list of those that will do."""
    with pytest.raises(InvalidArgument, match=rf"\.png, \.jpg, \.jpeg, \.webp, not '{name}'"):
        neighbour_sheet([Row(Tile(None, "q"), [])], tmp_path / name)


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    """And no file is left behind."""
    with pytest.raises(InvalidArgument, match="at least one query"):
        neighbour_sheet([], tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    """Also one of two lines, and one that is not UTF-8."""
    row = Row(Tile(picture("red"), "a\nb"), [Tile(picture("lime"), "\udcff\0", 0.1, "one\rtwo")])
    colour = colours(drawn(tmp_path / "sheet.png", row, title="a\ntitle"))
    assert {(255, 0, 0), (0, 255, 0)} <= colour.keys()


def test_a_sheet_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path, the reason and the way out; the former sheet stays."""
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"the former one")

    def full(draft: Path, data: bytes) -> int:
        with draft.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InvalidArgument, match=rf"cannot write {sheet}: No space left on device; .*--sheet$"):
        neighbour_sheet([Row(Tile(None, "q"), [])], sheet)
    assert sheet.read_bytes() == b"the former one"
    assert list(tmp_path.iterdir()) == [sheet]


def test_groups_stand_below_each_other(tmp_path: Path) -> None:
    """The first group's picture is above the second's; each is drawn once."""
    groups = [Group("one", [Tile(picture("red"), "a")]), Group("two", [Tile(picture("blue"), "b")])]
    group_sheet(groups, tmp_path / "sheet.png", title="groups")
    with Image.open(tmp_path / "sheet.png") as image:
        counts = colours(image)
        column = [image.getpixel((100, y)) for y in range(image.height)]
    assert counts[255, 0, 0] == counts[0, 0, 255] == TILE * TILE
    assert column.index((255, 0, 0)) < column.index((0, 0, 255))


def test_a_large_group_goes_on_below(tmp_path: Path) -> None:
    """Ten pictures, four on a line, make three lines, and none is lost."""
    tiles = [Tile(picture("lime"), str(number), note="0.9") for number in range(10)]
    group_sheet([Group("many", tiles)], tmp_path / "sheet.png", title="t", columns=4)
    with Image.open(tmp_path / "sheet.png") as image:
        assert colours(image)[0, 255, 0] == 10 * TILE * TILE
        assert image.height > 3 * TILE > image.width - 2 * TILE


def test_a_sheet_of_no_group_is_refused(tmp_path: Path) -> None:
    """And no file is left behind."""
    with pytest.raises(InvalidArgument, match="at least one group"):
        group_sheet([], tmp_path / "sheet.png", title="none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "count"), [("png", 2600), ("jpg", 2600), ("webp", 700)])
def test_a_sheet_that_would_be_too_tall_is_refused(tmp_path: Path, suffix: str, count: int) -> None:
    """Before it fills the memory, and in words."""
    tiles = [Tile(None, "a")] * count
    for draw in (
        lambda path: neighbour_sheet([Row(Tile(None, "q"), tiles)], path),
        lambda path: group_sheet([Group("g", tiles)], path, title="t"),
    ):
        with pytest.raises(InvalidArgument, match="too tall"):
            draw(tmp_path / f"sheet.{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_name_of_any_length_is_drawn_at_once(tmp_path: Path) -> None:
    """As its last characters; as every shorter one, they tell names apart."""
    long, short = tmp_path / "long.png", tmp_path / "short.png"
    neighbour_sheet([Row(Tile(None, "x" * 1_000_000 + "end"), [])], long)
    neighbour_sheet([Row(Tile(None, "x" * 300 + "end"), [])], short)
    assert long.read_bytes() == short.read_bytes()


def head(path: Path) -> Image.Image:
    """What stands at the top, without the paper beside it."""
    with Image.open(path) as image:
        paper = Image.new("RGB", (image.width, 100), "white")
        return image.crop(
            ImageChops.difference(image.convert("RGB").crop((0, 0, image.width, 100)), paper).getbbox()
        )


def test_few_pictures_cut_no_title_off(tmp_path: Path) -> None:
    """A sheet is as wide as what stands on it, as title, as explanation or above a group."""
    narrow, wide, tile = tmp_path / "narrow.png", tmp_path / "wide.png", Tile(None, "a", 0.1)
    for path, tiles in ((narrow, [tile]), (wide, [tile] * 8)):
        neighbour_sheet([Row(tile, tiles)], path, title="Neighbours in the collection pictures")
    assert head(narrow).tobytes() == head(wide).tobytes()
    for path, tiles in ((narrow, [tile]), (wide, [tile] * 8)):
        group_sheet([Group("of a kind, " * 9, tiles)], path, title="Kinds", legend="what is alike, " * 9)
    assert head(narrow).tobytes() == head(wide).tobytes()
    with Image.open(narrow) as image:
        assert 700 < image.width < 1200
