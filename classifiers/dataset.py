"""Labelled images, named by a folder per class or by a table, and what of them was left out."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extractor import sources
from extractor.errors import InvalidArgument, NotFound

COLUMNS = ("path", "label")


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
    rejected : list of Rejected
        What the source named but cannot be used.
    """

    images: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @classmethod
    def read(cls, source: Path) -> Dataset:
        """The labelled images of a folder (one sub-folder per class) or of a CSV file.

        A CSV file has a header with the columns `path` (absolute, or relative to
        the file's folder) and `label`; further columns are passed over.

        Raises
        ------
        NotFound
            When there is nothing at `source`.
        InvalidArgument
            When it is no such folder or table, or names no image.
        """
        if not source.exists():
            raise NotFound(f"no such folder or CSV file: {source}")
        dataset = _from_folder(source) if source.is_dir() else _from_csv(source)
        if not dataset.images:
            reasons = "; ".join(f"{each.image}: {each.reason}" for each in dataset.rejected[:3])
            raise InvalidArgument(f"{source} names no labelled image" + (f" ({reasons})" if reasons else ""))
        return dataset

    def counts(self) -> dict[str, int]:
        """The number of images of each class, classes in order."""
        return dict(sorted(Counter(self.labels).items()))


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
    counts = Counter(label for label, _ in set(zip(labels, pictures, strict=True)))
    if len(counts) < 2:
        found = f"images of one class only, {next(iter(counts))!r}" if counts else "no images"
        raise InvalidArgument(f"a head tells classes apart, and there are {found}: add another class")
    for label, count in sorted(counts.items()):
        if count < 2:
            raise InvalidArgument(
                f"the class {label!r} has only one usable image, too few to fit on one and test on another: "
                "add images of it, or leave the class out"
            )


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


def _from_folder(source: Path) -> Dataset:
    folders = [each for each in sorted(source.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    if not folders:
        raise InvalidArgument(
            f"the folder {source} has no sub-folders: put the images of each class into a folder of its own, "
            "or give a CSV file with the columns path,label"
        )
    dataset = Dataset()
    for folder in folders:
        try:
            images = list(sources.find([str(folder)]))
        except NotFound as error:
            dataset.rejected.append(Rejected(str(folder), str(error)))
        else:
            dataset.images.extend(images)
            dataset.labels.extend([folder.name] * len(images))
    dataset.rejected.extend(_stray(source))
    return dataset


def _stray(source: Path) -> Iterator[Rejected]:
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix.lower() in sources.SUFFIXES:
            yield Rejected(str(file), "it is in no class folder, so it has no label")


def _from_csv(source: Path) -> Dataset:
    dataset = Dataset()
    seen: set[tuple[str, str]] = set()
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            for line, path, label in _rows(source, stream):
                _add(dataset, f"{source}, line {line}", source.parent, path, label, seen)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(
            f"{source} cannot be read as a CSV file ({error}): give a folder with one sub-folder per class, "
            "or a CSV file in UTF-8 with the columns path,label"
        ) from error
    return dataset


def _rows(source: Path, stream: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, path and label of each row; cells that are missing are empty."""
    table = csv.reader(stream)
    header = [name.strip() for name in next(table, [])]
    if not set(COLUMNS) <= set(header):
        found = ", ".join(header) or "none"
        raise InvalidArgument(
            f"{source} needs a header with the columns path,label (separated by commas); it has: {found}"
        )
    wanted = [header.index(name) for name in COLUMNS]
    for cells in table:
        if cells:
            path, label = (cells[at].strip() if at < len(cells) else "" for at in wanted)
            yield table.line_num, path, label


def _add(dataset: Dataset, where: str, base: Path, path: str, label: str, seen: set[tuple[str, str]]) -> None:
    image = str(base / path)
    if not path or not label or "\0" in path:
        dataset.rejected.append(Rejected(where, f"the row needs a path and a label: {path!r}, {label!r}"))
    elif (image, label) in seen:
        dataset.rejected.append(Rejected(where, f"{path} is listed more than once"))
    else:
        # The same path under two labels goes on: both rows fall out when their
        # digests are compared, as two copies of one picture would.
        seen.add((image, label))
        dataset.images.append(image)
        dataset.labels.append(label)
