from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from extractor import folders
from extractor.errors import DamagedFile, InvalidArgument
from extractor.folders import publish_folder, read_folder


def write(text: str):
    def into(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)

    return into


def visible(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.name != ".lock")


def test_a_folder_appears_with_its_parents(tmp_path: Path) -> None:
    publish_folder(tmp_path / "a/b", write("one"))
    assert (tmp_path / "a/b/deep/file").read_text() == "one"
    assert visible(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "where the system cannot"])
def test_the_earlier_folder_is_replaced(tmp_path: Path, monkeypatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    for text in ("one", "two"):
        publish_folder(tmp_path / "b", write(text))
    assert (tmp_path / "b/deep/file").read_text() == "two"
    assert visible(tmp_path) == ["b"]


def test_the_earlier_folder_is_there_until_the_last_moment(tmp_path: Path) -> None:
    publish_folder(tmp_path / "b", write("one"))

    def look(folder: Path) -> None:
        assert (tmp_path / "b/deep/file").read_text() == "one"
        write("two")(folder)

    publish_folder(tmp_path / "b", look)
    assert (tmp_path / "b/deep/file").read_text() == "two"


@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_changes_nothing(tmp_path: Path, existing: bool) -> None:
    if existing:
        publish_folder(tmp_path / "b", write("one"))

    def full(folder: Path) -> None:
        write("two")(folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        InvalidArgument, match=r"cannot write .*b: No space left on device.*nothing was changed"
    ):
        publish_folder(tmp_path / "b", full)
    assert visible(tmp_path) == (["b"] if existing else [])
    assert not existing or (tmp_path / "b/deep/file").read_text() == "one"


def test_a_mistake_of_the_writer_leaves_nothing(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        write("half")(folder)
        raise KeyError("bug")

    with pytest.raises(KeyError):
        publish_folder(tmp_path / "b", broken)
    assert visible(tmp_path) == []


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="file/b"):
        publish_folder(tmp_path / "file/b", write("one"))


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """By the next writer of the same folder; those who still write keep their drafts."""
    script = (
        "import os, signal, sys; from pathlib import Path; from extractor.folders import publish_folder;"
        "publish_folder(Path(sys.argv[1]), lambda draft: os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "b"], check=False).returncode == -9
    assert len(visible(tmp_path)) == 1

    def while_another_is_quicker(folder: Path) -> None:
        publish_folder(tmp_path / "b", write("one"))
        write("two")(folder)

    publish_folder(tmp_path / "b", while_another_is_quicker)
    assert visible(tmp_path) == ["b"]
    assert (tmp_path / "b/deep/file").read_text() == "two"


def test_a_folder_is_read_as_it_was_at_one_moment(tmp_path: Path) -> None:
    """One that is exchanged between two of its files is read again; a damaged one is damaged."""

    def both(text: str):
        return lambda folder: [(folder / name).write_text(text) for name in ("a", "b")]

    publish_folder(tmp_path / "f", both("one"))
    texts = iter(("two", "three"))

    def read(folder: Path) -> str:
        first = (folder / "a").read_text()
        if (text := next(texts, None)) is not None:
            publish_folder(folder, both(text))
        if (folder / "b").read_text() != first:
            raise DamagedFile("they differ")
        return first

    assert read_folder(tmp_path / "f", read) == "three"
    (tmp_path / "f/b").write_text("other")
    with pytest.raises(DamagedFile, match="they differ"):
        read_folder(tmp_path / "f", read)
