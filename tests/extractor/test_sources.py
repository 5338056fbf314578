"""Images are found by file, folder, glob and list, and read from path, bytes or PIL."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from extractor.errors import InvalidArgument, NotFound, UnreadableFile
from extractor.sources import find, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.webp"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path


def names(found, folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in found]


def test_a_folder_is_searched_to_its_depth(folder: Path) -> None:
    """Images by suffix, sorted, without hidden files."""
    assert names(find([str(folder)]), folder) == ["a.PNG", "b.jpg", "deep/er/c.webp"]


def test_a_glob_is_expanded(folder: Path) -> None:
    """`**` reaches every depth; only files match."""
    assert names(find([f"{folder}/**/*.webp"]), folder) == ["deep/er/c.webp"]


def test_a_file_is_taken_as_it_is_even_when_missing(folder: Path) -> None:
    """A file that was named is tried, whatever its suffix: its failure is its own."""
    named = [str(folder / "notes.txt"), str(folder / "gone.jpg")]
    assert list(find(named)) == named


def test_each_file_comes_once(folder: Path) -> None:
    """Naming a file twice, or by file and by folder, finds it once."""
    file = str(folder / "b.jpg")
    assert list(find([file, str(folder), file])).count(file) == 1


def test_a_dash_reads_paths_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One path a line; spaces belong to the name."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one file.jpg\n\ntwo.jpg\r\n\xff.jpg")))
    assert list(find(["-"])) == ["one file.jpg", "two.jpg", "\udcff.jpg"]


def test_a_name_with_glob_signs_is_a_name_when_it_exists(tmp_path: Path) -> None:
    """`holiday [1].jpg` is a file, not a pattern."""
    file = tmp_path / "holiday [1].jpg"
    file.write_bytes(b"x")
    assert list(find([str(file)])) == [str(file)]


def test_nothing_found_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, a glob without a match and an empty list each name themselves."""
    with pytest.raises(NotFound, match=f"{tmp_path} holds no image"):
        list(find([str(tmp_path)]))
    with pytest.raises(NotFound, match=r"nothing matches .*\*\.jpg"):
        list(find([f"{tmp_path}/*.jpg"]))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(NotFound, match="standard input is empty"):
        list(find(["-"]))


def test_bytes_path_and_pil_are_read(tmp_path: Path) -> None:
    """A PIL image becomes a PNG with the same pixels."""
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    file = tmp_path / "a.png"
    image.save(file)
    assert read(b"abc") == b"abc"
    assert read(file) == read(str(file)) == file.read_bytes()
    assert Image.open(io.BytesIO(read(image))).tobytes() == image.tobytes()


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    """A missing path, a folder, and a wrong type."""
    with pytest.raises(NotFound, match=r"no such file: .*gone\.jpg"):
        read(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableFile, match="holds no image"):
        read(tmp_path)
    with pytest.raises(UnreadableFile, match="null byte"):
        read("a\0b")
    with pytest.raises(UnreadableFile, match="File name too long"):
        read("x" * 5000)
    with pytest.raises(InvalidArgument, match="not int"):
        read(7)  # type: ignore[arg-type]


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    """It fails at once; opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (found,) = find([str(tmp_path)])
    with pytest.raises(UnreadableFile, match="pipe or a device"):
        read(found)


def test_a_barren_name_among_others_fails_alone(folder: Path) -> None:
    """It comes last, as it is, and reading it says why."""
    (folder / "empty").mkdir()
    found = list(find([str(folder / "empty"), str(folder / "b.jpg"), f"{folder}/*.bmp"]))
    assert names(found, folder) == ["b.jpg", "empty", "*.bmp"]
    with pytest.raises(UnreadableFile, match="empty holds no image"):
        read(found[1])


def test_linked_folders_are_searched_and_circles_end(folder: Path, tmp_path_factory) -> None:
    """No image is passed over without a word, and none is found for ever."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.jpg").write_bytes(b"x")
    (folder / "link").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    assert names(find([str(folder)]), folder) == ["a.PNG", "b.jpg", "deep/er/c.webp", "link/far.jpg"]


def test_a_folder_that_cannot_be_listed_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path comes as an item, which fails with the system's reason."""
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert names(find([str(folder)]), folder) == ["a.PNG", "b.jpg", "deep/er"]


def test_a_file_that_may_not_be_read_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is the system's, whoever runs the test."""

    def closed(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(UnreadableFile, match=r"cannot read '.*b\.jpg': Permission denied"):
        read(folder / "b.jpg")


@pytest.mark.parametrize("named", [["", "deep"], ["deep", ""], ["", "./"], ["deep/er", "deep", "deep/er"]])
def test_folders_that_overlap_give_each_file_once(folder: Path, named: list[str]) -> None:
    found = names(find([str(folder / name) for name in named]), folder)
    assert sorted(set(found)) == sorted(found)
    assert "deep/er/c.webp" in found


def test_without_order_the_same_files_are_found(folder: Path) -> None:
    """As they are counted."""
    (folder / "deep-er").mkdir()
    (folder / "deep-er" / "d.png").write_bytes(b"")
    paths = [str(folder / "deep"), str(folder / "deep-er"), str(folder / "nothing")]
    assert names(find(paths), folder) == ["deep/er/c.webp", "deep-er/d.png", "nothing"]
    assert sorted(find(paths, in_order=False)) == sorted(find(paths))
