"""The parts of a data set that its source names: to train on, to validate with, to test on."""

from __future__ import annotations

from extractor.errors import InvalidArgument

TRAIN, TEST = "train", "test"

_VALIDATION = "val"
PARTS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), _VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""What they are called, in small letters."""


def part_named(text: str, where: str) -> str:
    """Which part a word of a table or a folder's name stands for; "" for none.

    Raises
    ------
    InvalidArgument
        When it stands for none that there is.
    """
    if text and text.lower() not in PARTS:
        raise InvalidArgument(f"{where}: the split {text!r} is none of train, val, test")
    return PARTS[text.lower()] if text else ""


def settled(parts: list[str], source: str) -> list[str]:
    """Train and test alone; empty when nothing is said, or all is to be trained on.

    Raises
    ------
    InvalidArgument
        When it is said of some rows only, or none is left to train on.
    """
    said = set(parts)
    if said in (set(), {""}, {TRAIN}):
        return []
    if "" in said:
        silent = parts.count("")
        raise InvalidArgument(
            f"{source} says of {len(parts) - silent} rows whether they are train, val or test, and not of "
            f"the other {silent}: say it of each, or of none"
        )
    held = TEST if TEST in said else _VALIDATION
    if said == {held}:
        raise InvalidArgument(f"all images of {source} are of the part {held}: none is left to train on")
    return [TEST if part == held else TRAIN for part in parts]
