from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.dataset import Dataset, check_classes
from extractor.errors import InvalidArgument, NotFound

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=12)


@settings(deadline=None)  # folders are made, on a machine that others use
@given(st.lists(st.tuples(names, names), min_size=1, unique=True))
def test_a_table_gives_back_the_rows_that_were_written(rows: list[tuple[str, str]]) -> None:
    """Whatever characters, quotes and commas paths and labels hold."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "labels.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("path", "label"), *rows])
        dataset = Dataset.read(file)
        assert dataset.images == [str(Path(folder) / path) for path, _ in rows]
        assert dataset.labels == [normalize("NFC", label) for _, label in rows]
        assert dataset.rejected == []


@settings(deadline=None)  # folders are made, on a machine that others use
@given(
    st.dictionaries(
        names.filter(lambda name: "/" not in name and name[0] != ".").map(partial(normalize, "NFC")),
        st.integers(1, 3),
        min_size=1,
    )
)
def test_a_folder_names_every_image_under_its_class(classes: dict[str, int]) -> None:
    with TemporaryDirectory() as folder:
        for label, count in classes.items():
            (Path(folder) / label).mkdir()
            for i in range(count):
                (Path(folder) / label / f"{i}.png").touch()
        dataset = Dataset.read(Path(folder))
        assert dataset.counts() == dict(sorted(classes.items()))
        assert {
            (Path(image).parent.name, label)
            for image, label in zip(dataset.images, dataset.labels, strict=True)
        } == {(label, label) for label in classes}


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("note,LABEL, Path\ntrain,cat,a.png\n", encoding="utf-8-sig")
    dataset = Dataset.read(tmp_path / "t.csv")
    assert (dataset.images, dataset.labels) == ([str(tmp_path / "a.png")], ["cat"])


def test_an_absolute_path_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n/photos/a.png,cat\n")
    assert Dataset.read(tmp_path / "t.csv").images == ["/photos/a.png"]


def test_rows_that_cannot_be_used_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,cat\na.png,cat\nb.png,\n,dog\nc.png\n\nd.png,dog\n")
    dataset = Dataset.read(tmp_path / "t.csv")
    assert dataset.labels == ["cat", "dog"]
    assert [each.image.rpartition(" ")[2] for each in dataset.rejected] == ["3", "4", "5", "6"]
    assert "more than once" in dataset.rejected[0].reason


def test_one_path_under_two_labels_is_kept_for_the_comparison_of_digests(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,cat\na.png,dog\n")
    assert Dataset.read(tmp_path / "t.csv").labels == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has: none"),
        ("file;class\na;b\n", "it has: file;class"),
        ("path,class\na.png,cat\n", "path,label"),
        ("path,label\n", "names no labelled image"),
        ("path,label\na.png,\n", "needs a path and a label"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidArgument, match=says):
        Dataset.read(tmp_path / "t.csv")


def test_a_picture_given_as_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(InvalidArgument, match="cannot be read as a CSV file"):
        Dataset.read(tmp_path / "t.csv")


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        Dataset.read(tmp_path / "nowhere")


def test_a_folder_without_class_folders_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(InvalidArgument, match="images of each class into a folder of its own"):
        Dataset.read(tmp_path)


def test_a_folder_whose_classes_are_all_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InvalidArgument, match=r"names no labelled image.*cat"):
        Dataset.read(tmp_path)


def test_an_empty_class_and_a_stray_image_are_left_out_with_reasons(tmp_path: Path) -> None:
    for folder in ("cat", "dog", ".cache"):
        (tmp_path / folder).mkdir()
    for file in ("cat/1.png", "stray.png", ".cache/x.png"):
        (tmp_path / file).touch()
    dataset = Dataset.read(tmp_path)
    assert dataset.counts() == {"cat": 1}
    assert [Path(each.image).name for each in dataset.rejected] == ["dog", "stray.png"]


@pytest.mark.parametrize(
    ("labels", "says"),
    [("", "no images"), ("aa", "one class only, 'a'"), ("aab", "class 'b' has only one usable image")],
)
def test_what_cannot_be_told_apart_is_refused(labels: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        check_classes(labels, map(str, range(len(labels))))


def test_two_copies_of_one_picture_count_as_one() -> None:
    with pytest.raises(InvalidArgument, match="class 'b' has only one"):
        check_classes("aabb", ["1", "2", "3", "3"])
