"""Labels as they are written: cleaned, taken apart where an image has several, and doubted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from extractor.errors import InvalidArgument
from extractor.text import printable

BETWEEN = "|"
"""What parts the labels of an image that has several; alone, it stands for none."""

FEW_CLASSES = 10
"""Up to which one image a class is taken for a shortage of images, not for a mistaken column."""

MANY_NUMBERS = 20
"""Different fractions among the labels, from which on they are taken for measurements."""

_FRACTION = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")


def cleaned(value: object) -> str:
    """A label as text: without blanks about it, on one line, and one form of each accented letter.

    File systems differ in how they write these; a whole number that a table
    holds as a fraction, since another row is empty, is written as a whole one;
    several, as a column of lists has them, as `joined` does.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, list):
        return joined(map(cleaned, value))
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", printable(str(value).strip()))


def parted(label: str) -> list[str]:
    """The labels of an image that may have several, each once, in order."""
    return sorted({part.strip() for part in label.split(BETWEEN)} - {""})


def joined(labels: Iterable[str]) -> str:
    """The labels of an image as one text; `parted` takes them apart."""
    return BETWEEN.join(sorted(labels)) or BETWEEN


def check_not_ids(labels: Sequence[str], pictures: Sequence[str]) -> None:
    """Refuse labels of which nearly every image has its own.

    Raises
    ------
    InvalidArgument
        When there are more than `FEW_CLASSES`, and not two images for each.
    """
    classes, count = len(set(labels)), len(set(pictures))
    if classes > max(FEW_CLASSES, count / 2):
        first = ", ".join(repr(label) for label in sorted(set(labels))[:3])
        raise InvalidArgument(
            f"there are {classes:,} classes ({first}, ...) for {count:,} images, hardly an image to compare "
            "each with: is this a column of ids? Labels name what several images have in common"
        )


def doubts(labels: Sequence[str], *, multi_label: bool) -> list[str]:
    """What looks odd about labels that can be used, in sentences for the user."""
    found = []
    distinct = set(labels)
    numbers = [label for label in distinct if _FRACTION.fullmatch(label)]
    if len(numbers) >= MANY_NUMBERS:
        found.append(
            f"{len(numbers)} of the labels are numbers, such as {min(numbers)}, and each is a class of its "
            "own: a head tells classes apart and measures nothing; make ranges of them"
        )
    several = sorted(label for label in distinct if BETWEEN in label)
    if several and not multi_label:
        found.append(
            f"labels such as '{several[0]}' are taken as one class each: with --multi-label, "
            f"what stands between the {BETWEEN} are several labels of one image"
        )
    folded: dict[str, str] = {}
    found += [
        f"the classes '{other}' and '{label}' differ only in capitals"
        for label in sorted(distinct)
        if (other := folded.setdefault(label.casefold(), label)) != label
    ]
    return found
