"""Labelled images, named by a folder per class or by a table, and what of them was left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from classifiers.data import tables
from classifiers.data.labels import cleaned, joined, parted
from classifiers.data.parts import PARTS, TRAIN, part_named, settled
from extractor import sources
from extractor.errors import InvalidArgument, NotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image (or row of a table) that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Image files and their labels, row by row.

    Attributes
    ----------
    images : list of str
        Paths; whether they can be read is not known yet.
    labels : list of str
        Of an image that has several, all of them, see `classifiers.data.labels`.
    rejected : list of Rejected
        What the source named but cannot be used.
    parts : list of str
        "train" or "test", row by row, where the source says so; else empty.
    groups : list of str
        Rows of one group are not parted; "" for a row that is in none. Or empty.
    weights : list of float
        What each row counts for. Or empty: all the same.
    multi_label : bool
        Whether an image may have several labels.
    """

    images: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    multi_label: bool = False

    @classmethod
    def read(cls, source: Path, *, multi_label: bool = False) -> Dataset:
        """The labelled images of a folder (one sub-folder per class) or of a table.

        A folder may also have such folders in `train`, `val` and `test`. A
        table, CSV or Parquet, has a header with the columns `path` (absolute,
        or relative to the file's folder) and `label`, and may have `split`
        (train, val or test), `group` and `weight`; see `tables.rows`.

        Where a source has a test part, its validation part is trained on, too,
        since settings are chosen by cross-validation; where it has none, the
        validation part is what is tested on.

        Parameters
        ----------
        source : Path
        multi_label : bool
            Labels have `|` between several of one image.

        Raises
        ------
        NotFound
            When there is nothing at `source`.
        InvalidArgument
            When it is no such folder or table, or names no image.
        """
        if not source.exists():
            raise NotFound(f"no such folder or CSV file: {source}")
        dataset = _from_folder(source) if source.is_dir() else _from_table(source, multi_label)
        if not dataset.images:
            reasons = "; ".join(f"{each.image}: {each.reason}" for each in dataset.rejected[:3])
            raise InvalidArgument(f"{source} names no labelled image" + (f" ({reasons})" if reasons else ""))
        return replace(dataset, parts=settled(dataset.parts, str(source)), multi_label=multi_label)

    def counts(self) -> dict[str, int]:
        """The number of images of each class, classes in order."""
        return dict(sorted(Counter(label for label, _ in self.members()).items()))

    def members(self) -> list[tuple[str, int]]:
        """Each label with each row that has it."""
        if not self.multi_label:
            return [(label, row) for row, label in enumerate(self.labels)]
        return [(label, row) for row, several in enumerate(self.labels) for label in parted(several)]

    def take(self, rows: Sequence[int]) -> Dataset:
        """The same with these rows only."""
        return replace(
            self,
            images=_picked(self.images, rows),
            labels=_picked(self.labels, rows),
            parts=_picked(self.parts, rows),
            groups=_picked(self.groups, rows),
            weights=_picked(self.weights, rows),
        )


def check_classes(labels: Iterable[str], pictures: Iterable[str]) -> None:
    """Refuse what no classifier can be fitted and tested on.

    Parameters
    ----------
    labels, pictures : iterable of str
        Row by row; what tells pictures apart is a path or a digest.

    Raises
    ------
    InvalidArgument
        When there are fewer than two classes, or a class has one picture only.
    """
    counts = _pictures_of(labels, pictures)
    if len(counts) < 2:
        found = f"images of one class only, {next(iter(counts))!r}" if counts else "no images"
        raise InvalidArgument(f"a head tells classes apart, and there are {found}: add another class")
    for label, count in sorted(counts.items()):
        if count < 2:
            raise InvalidArgument(
                f"the class {label!r} has only one usable image, too few to fit on one and test on another: "
                "add images of it, or leave the class out"
            )


def lone_classes(labels: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """The classes of one picture only, in order; the others can do without them.

    Raises
    ------
    InvalidArgument
        When fewer than two classes would be left.
    """
    counts = _pictures_of(labels, pictures)
    lone = sorted(label for label, count in counts.items() if count < 2)
    if len(counts) - len(lone) < 2:
        check_classes(labels, pictures)
    return lone


def check_test(
    labels: Iterable[str], pictures: Iterable[str], test_labels: Iterable[str], test_pictures: Iterable[str]
) -> None:
    """Refuse test images that say nothing of the training ones; row by row, as in `check_classes`.

    Raises
    ------
    InvalidArgument
        When they have a class of their own, or leave no picture to fit on.
    """
    check_known(test_labels, sorted(set(labels)))
    if set(pictures) <= set(test_pictures):
        raise InvalidArgument(
            "every image to fit on is among the test images too, so none is left: give other test images, "
            "or none, and a part of each class is held out"
        )


def check_known(labels: Iterable[str], classes: Sequence[str]) -> None:
    """Raise InvalidArgument when a test image has a label that is none of the `classes`."""
    if unknown := sorted(set(labels) - set(classes)):
        raise InvalidArgument(
            f"the test images have the class {unknown[0]!r}, which no training image has; "
            f"the head knows {', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
        )


def _pictures_of(labels: Iterable[str], pictures: Iterable[str]) -> Counter[str]:
    """How many different pictures each class has."""
    return Counter(label for label, _ in set(zip(labels, pictures, strict=True)))


def _picked(column: list[T], rows: Sequence[int]) -> list[T]:
    """Of a column in which nothing is said, nothing."""
    return [column[row] for row in rows] if column else []


def _from_folder(source: Path) -> Dataset:
    folders = _folders(source)
    if not folders:
        raise InvalidArgument(
            f"the folder {source} has no sub-folders: put the images of each class into a folder of its own, "
            "or give a CSV file with the columns path,label"
        )
    dataset = Dataset()
    parted_folders = _are_parts(folders)
    for folder in folders:
        if parted_folders:
            for of_class in _folders(folder):
                _add_folder(dataset, of_class, PARTS[folder.name.lower()])
            dataset.rejected.extend(_stray(folder))
        else:
            _add_folder(dataset, folder)
    dataset.rejected.extend(_stray(source))
    return dataset


def _folders(source: Path) -> list[Path]:
    return [each for each in sorted(source.iterdir()) if each.is_dir() and not each.name.startswith(".")]


def _are_parts(folders: Sequence[Path]) -> bool:
    """Whether they are the train, val and test parts of a data set, with the classes in them."""
    names = {PARTS.get(folder.name.lower()) for folder in folders}
    return None not in names and TRAIN in names and all(map(_folders, folders))


def _add_folder(dataset: Dataset, folder: Path, part: str = "") -> None:
    if not (label := cleaned(folder.name)):
        dataset.rejected.append(Rejected(str(folder), "its name is blank, and a class needs one"))
        return
    try:
        images = list(sources.find([str(folder)]))
    except NotFound as error:
        dataset.rejected.append(Rejected(str(folder), str(error)))
        return
    dataset.images.extend(images)
    dataset.labels.extend([label] * len(images))
    dataset.parts.extend([part] * len(images))


def _stray(source: Path) -> Iterator[Rejected]:
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix.lower() in sources.SUFFIXES:
            yield Rejected(str(file), "it is in no class folder, so it has no label")


def _from_table(source: Path, multi_label: bool) -> Dataset:
    dataset = Dataset()
    seen: set[tuple[str, str]] = set()
    for row in tables.rows(source):
        if multi_label and row.label:
            row = row._replace(label=joined(parted(row.label)))
        if reason := _unusable(row, seen):
            dataset.rejected.append(Rejected(row.where, reason))
        else:
            # The same path under two labels goes on: both rows fall out when their
            # digests are compared, as two copies of one picture would.
            seen.add((row.path, row.label))
            _add(dataset, source.parent, row)
    return _without_empty_columns(dataset)


def _unusable(row: tables.Row, seen: set[tuple[str, str]]) -> str:
    """Why a row cannot be used; empty when it can."""
    if not row.path or not row.label or "\0" in row.path:
        return f"the row needs a path and a label: {row.path!r}, {row.label!r}"
    if (row.path, row.label) in seen:
        return f"{row.path} is listed more than once"
    return weight_refused(row.weight)


def weight_refused(text: str) -> str:
    """Why what is said of a weight cannot be used; empty when it can, or nothing is said."""
    try:
        usable = not text or 0 < float(text) < math.inf
    except ValueError:
        usable = False
    return "" if usable else f"its weight must be a number above 0, not {text!r}"


def _add(dataset: Dataset, base: Path, row: tables.Row) -> None:
    dataset.images.append(str(base / row.path))
    dataset.labels.append(row.label)
    dataset.parts.append(part_named(row.split, row.where))
    dataset.groups.append(row.group)
    dataset.weights.append(float(row.weight or 1))


def _without_empty_columns(dataset: Dataset) -> Dataset:
    """Columns in which nothing is said are none."""
    groups = dataset.groups if any(dataset.groups) else []
    weights = dataset.weights if set(dataset.weights) - {1.0} else []
    return replace(dataset, groups=groups, weights=weights)
