from __future__ import annotations

import csv
import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.data.dataset import Dataset, Rejected, check_classes, lone_classes
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


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_columns_are_found_whatever_their_capitals_and_say_more(tmp_path: Path) -> None:
    rows = (
        "LABEL,Path,Split,GROUP,Weight",
        "cat,a.png,Train,x,2",
        "dog,b.png,test,,",
        "cat,c.png,TEST,x,0.5",
    )
    dataset = Dataset.read(table(tmp_path / "t.csv", *rows))
    assert dataset.labels == ["cat", "dog", "cat"]
    assert dataset.parts == ["train", "test", "test"]
    assert dataset.groups == ["x", "", "x"]
    assert dataset.weights == [2, 1, 0.5]


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    columns = {
        "Path": ["a.png", "b.png", None],
        "label": [1, 2, 1],
        "split": ["train", "test", "train"],
        "weight": [1.5, None, 1.0],
        "note": ["x", "y", "z"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    dataset = Dataset.read(tmp_path / "t.parquet")
    assert dataset.images == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert (dataset.labels, dataset.parts, dataset.weights) == (["1", "2"], ["train", "test"], [1.5, 1])
    assert dataset.rejected[0].image.endswith("t.parquet, row 3")


def test_lists_of_labels_and_names_that_are_bytes_are_read(tmp_path: Path) -> None:
    columns = {"path": [b"a.png", b"b\xff.png", b"c.png"], "label": [["cat"], ["dog", "cat"], []]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    dataset = Dataset.read(tmp_path / "t.parquet", multi_label=True)
    assert dataset.labels == ["cat", "cat|dog", "|"]
    assert [os.fsencode(Path(image).name) for image in dataset.images] == columns["path"]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("path,label\n")
    with pytest.raises(InvalidArgument, match="cannot be read as a Parquet file"):
        Dataset.read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("splits", "parts"),
    [
        (("train", "val", "test"), ["train", "train", "test"]),
        (("train", "val", "train"), ["train", "test", "train"]),
        (("train", "train", "train"), []),
        (("", "", ""), []),
        (("TRAIN", " Validation", "dev"), ["train", "test", "test"]),
    ],
)
def test_validation_images_are_fitted_on_where_there_are_test_images(tmp_path: Path, splits, parts) -> None:
    rows = [f"{i}.png,cat,{split}" for i, split in enumerate(splits)]
    assert Dataset.read(table(tmp_path / "t.csv", "path,label,split", *rows)).parts == parts


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("path,label,split", "b.png,cat,fold 1", "line 3: the split 'fold 1' is none of train, val, test"),
        ("path,label,split", "b.png,cat,", "says of 1 rows whether .* not of the other 1"),
        ("path,label,Label", "b.png,cat,dog", "the column label 2 times"),
    ],
)
def test_columns_that_make_no_sense_are_refused(tmp_path: Path, header: str, row: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Dataset.read(table(tmp_path / "t.csv", header, "a.png,cat,test", row))


def test_images_to_train_on_are_not_named_beside_silent_ones(tmp_path: Path) -> None:
    """Else a part of those that are to be trained on would be held out."""
    with pytest.raises(InvalidArgument, match=r"says of 1 rows whether .* not of the other 1"):
        Dataset.read(table(tmp_path / "t.csv", "path,label,split", "a.png,cat,train", "b.png,dog,"))


def test_a_class_whose_name_is_blank_is_left_out(tmp_path: Path) -> None:
    for name in ("cat", " "):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    dataset = Dataset.read(tmp_path)
    assert dataset.labels == ["cat"]
    assert dataset.rejected == [Rejected(str(tmp_path / " "), "its name is blank, and a class needs one")]


def test_a_table_of_test_images_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="none is left to train on"):
        Dataset.read(table(tmp_path / "t.csv", "path,label,split", "a.png,cat,test", "b.png,dog,test"))


@pytest.mark.parametrize("weight", ["0", "-1", "heavy", "nan", "inf"])
def test_a_row_whose_weight_is_none_is_listed(tmp_path: Path, weight: str) -> None:
    dataset = Dataset.read(
        table(tmp_path / "t.csv", "path,label,weight", f"a.png,cat,{weight}", "b.png,cat,2")
    )
    assert dataset.weights == [2]
    assert repr(weight) in dataset.rejected[0].reason


def test_folders_of_parts_have_the_classes_in_them(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "Val/cat/2.png", "test/dog/3.png", "train/dog/4.png", "test/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    dataset = Dataset.read(tmp_path)
    rows = sorted(
        zip((Path(each).name for each in dataset.images), dataset.labels, dataset.parts, strict=True)
    )
    assert rows == [
        ("1.png", "cat", "train"),
        ("2.png", "cat", "train"),
        ("3.png", "dog", "test"),
        ("4.png", "dog", "train"),
    ]
    assert [Path(each.image).name for each in dataset.rejected] == ["5.png"]


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    """As vehicles may: there are no folders in these."""
    for name in ("train/1.png", "test/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert Dataset.read(tmp_path).counts() == {"test": 1, "train": 1}


def test_two_ways_to_write_one_letter_are_one_class(tmp_path: Path) -> None:
    for name in ("Zu\u0308rich/1.png", "Z\u00fcrich/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert Dataset.read(tmp_path).counts() == {"Z\u00fcrich": 2}


def test_several_labels_are_counted_each(tmp_path: Path) -> None:
    rows = ("path,label", "a.png,dog|cat", "b.png,cat", "c.png,|", "d.png,", "a.png,cat | dog")
    dataset = Dataset.read(table(tmp_path / "t.csv", *rows), multi_label=True)
    assert dataset.labels == ["cat|dog", "cat", "|"]
    assert dataset.counts() == {"cat": 2, "dog": 1}
    assert len(dataset.rejected) == 2


def test_classes_of_one_picture_are_named_as_long_as_two_others_are_left() -> None:
    assert lone_classes("aabbcd", "123456") == ["c", "d"]
    with pytest.raises(InvalidArgument, match="class 'b' has only one usable image"):
        lone_classes("aab", "123")
