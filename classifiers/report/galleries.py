"""The parts of a page that show pictures: mistakes, suspected labels, near copies, and a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from classifiers.data.labels import parted
from classifiers.evaluation.findings import Findings
from classifiers.evaluation.judged import Judged
from classifiers.evaluation.label_noise import Suspect
from classifiers.report.markup import percent, tag, words
from classifiers.report.pictures import Pictures

Cell = tuple[int, ...]
"""Truth and answer; where images may have several labels, the label before them."""

MOST = 24
"""Pictures of a gallery, and of a cell of the confusion matrix."""

RIGHT = 8
"""Pictures of a cell of right answers, and of a class in the sample."""

GROUPS = 12
"""Groups of near copies, with up to half as many pictures each."""


def cells(judged: Judged) -> dict[Cell, list[int]]:
    """The test images of each cell of the confusion matrix: truth, answer; the surest first.

    Where images may have several labels, by label whether an image has it, and
    whether it is answered; what neither is, is in no cell.
    """
    found: dict[Cell, list[int]] = defaultdict(list)
    told = np.nan_to_num(judged.probabilities)
    if judged.multi_label:
        answers = judged.answers(told)
        for at in range(len(judged.classes)):
            sure = np.abs(told[:, at] - judged.thresholds[at])
            for row in np.argsort(-sure, kind="stable").tolist():
                has, said = bool(judged.labels[row, at]), bool(answers[row, at])
                if judged.held_out[row] and (has or said):
                    found[at, has, said].append(row)
        return found
    answers = told.argmax(axis=1)
    for row in np.argsort(-told.max(axis=1), kind="stable").tolist():
        if judged.held_out[row]:
            found[int(judged.labels[row]), int(answers[row])].append(row)
    return found


def shown_of(cell: Cell, rows: list[int]) -> list[int]:
    """The rows of a cell that are shown."""
    return rows[: RIGHT if cell[-2] == cell[-1] else MOST]


class Mistake(NamedTuple):
    """A wrong answer: the row, the class that was answered, or the label that is wrong, and how sure it was.

    Attributes
    ----------
    row : int
    label : int
        The place of the class that was answered; of an image with several
        labels, of one that it has and was not answered, or the other way round.
    sure : float
        The probability of what was answered.
    """

    row: int
    label: int
    sure: float


def mistakes(judged: Judged) -> list[Mistake]:
    """The wrong answers on the test images, the surest first."""
    told = np.nan_to_num(judged.probabilities)
    if judged.multi_label:
        said = judged.answers(told)
        pairs = np.argwhere((said != judged.labels) & judged.held_out[:, None])
        sure = np.where(said, told, 1 - told)[tuple(pairs.T)]
        found = zip(pairs.tolist(), sure.tolist(), strict=True)
        return sorted((Mistake(row, at, each) for (row, at), each in found), key=lambda each: -each.sure)
    answers = told.argmax(axis=1)
    wrong = np.flatnonzero(judged.held_out & (answers != judged.labels))
    sure = told.max(axis=1)
    order = wrong[np.argsort(-sure[wrong], kind="stable")].tolist()
    return [Mistake(row, int(answers[row]), float(sure[row])) for row in order]


def sample(judged: Judged, seed: int = 0) -> dict[int, list[int]]:
    """Some images of each class."""
    order = np.random.default_rng(seed).permutation(len(judged.labels))
    members = judged.members[order]
    return {at: [int(row) for row in order[members[:, at]][:RIGHT]] for at in range(len(judged.classes))}


def wanted(findings: Findings) -> Iterator[int]:
    """Every row that the page shows, the most telling first."""
    judged = findings.judged
    yield from (mistake.row for mistake in mistakes(judged)[:MOST])
    yield from (suspect.row for suspect in findings.suspects[:MOST])
    matrix = cells(judged)
    for cell in sorted(matrix, key=lambda cell: (cell[-2] == cell[-1], cell)):
        yield from shown_of(cell, matrix[cell])
    for group in findings.neighbourhood.groups[:GROUPS]:
        yield from group[: MOST // 2]
    yield from (each.row for each in findings.neighbourhood.unusual[:MOST])
    for rows in sample(judged).values():
        yield from rows


def mistake_gallery(judged: Judged, pictures: Pictures) -> str:
    """The most confident errors."""
    return gallery(_wrong(judged, each, pictures) for each in mistakes(judged)[:MOST])


def suspect_gallery(findings: Findings, pictures: Pictures) -> str:
    """Labels that are probably wrong."""
    judged = findings.judged
    return gallery(_suspected(judged, each, pictures) for each in findings.suspects[:MOST])


def _suspected(judged: Judged, suspect: Suspect, pictures: Pictures) -> str:
    told, image = judged.probabilities[suspect.row], judged.images[suspect.row]
    if suspect.label is not None:
        label = judged.classes[suspect.label]
        doubt = f"labelled {label}" if suspect.given else f"not labelled {label}"
        return pictures.figure(suspect.row, image, doubt, f"{percent(told[suspect.label], 0)} {label}")
    return pictures.figure(
        suspect.row,
        image,
        f"labelled {judged.classes[suspect.given]}",
        f"rather {judged.classes[suspect.likely]}",
        f"{percent(told[suspect.likely], 0)} against {percent(told[suspect.given], 0)}",
    )


def copies_gallery(findings: Findings, pictures: Pictures) -> str:
    """Groups of near copies; those on both sides of the split, or of several labels, are marked."""
    judged = findings.judged
    parts = []
    for group in findings.neighbourhood.groups[:GROUPS]:
        labels = {_labels(judged, row) for row in group}
        sides = {bool(judged.held_out[row]) for row in group}
        marks = [f"{len(group)} images"]
        marks += [f"labels differ: {', '.join(sorted(labels))}"] if len(labels) > 1 else []
        marks += ["some were fitted on, some tested on"] if len(sides) > 1 else []
        figures = (
            pictures.figure(
                row,
                judged.images[row],
                _labels(judged, row),
                "test" if judged.held_out[row] else "training",
            )
            for row in group[: MOST // 2]
        )
        parts.append(words("h3", "; ".join(marks)) + gallery(figures))
    return "".join(parts)


def unusual_gallery(findings: Findings, pictures: Pictures) -> str:
    """Images that are unlike all others."""
    judged = findings.judged
    return gallery(
        pictures.figure(
            each.row,
            judged.images[each.row],
            _labels(judged, each.row),
            f"distance {each.distance:.3f}",
        )
        for each in findings.neighbourhood.unusual[:MOST]
    )


def sample_gallery(judged: Judged, pictures: Pictures) -> str:
    """Some images of each class, as far as there is room for them."""
    parts = []
    for at, rows in sample(judged).items():
        if figures := [pictures.figure(row, judged.images[row]) for row in rows if row in pictures]:
            parts.append(words("h3", judged.classes[at]) + gallery(figures))
    return "".join(parts)


def cell_gallery(judged: Judged, cell: Cell, rows: list[int], pictures: Pictures) -> str:
    """The images of one cell of the confusion matrix."""
    if judged.multi_label:
        return gallery(_having(judged, row, cell[0], pictures) for row in rows)
    return gallery(_told(judged, row, pictures) for row in rows)


def gallery(figures: Iterator[str] | list[str]) -> str:
    """Pictures beside each other."""
    return tag("div", "".join(figures), class_="gallery")


def _told(judged: Judged, row: int, pictures: Pictures) -> str:
    said = judged.probabilities[row]
    truth, answer = int(judged.labels[row]), int(said.argmax())
    lines = [f"is {judged.classes[truth]}"]
    if truth != answer:
        lines.append(f"taken for {judged.classes[answer]}")
    return pictures.figure(row, judged.images[row], *lines, f"{percent(said[answer], 0)} sure")


def _labels(judged: Judged, row: int) -> str:
    """The label of a row, or all of them, for a person."""
    if not judged.multi_label:
        return judged.label_of(row)
    return ", ".join(parted(judged.label_of(row))) or "none of them"


def _having(judged: Judged, row: int, label: int, pictures: Pictures) -> str:
    said = f"{percent(judged.probabilities[row, label], 0)} {judged.classes[label]}"
    return pictures.figure(row, judged.images[row], f"is {_labels(judged, row)}", said)


def _wrong(judged: Judged, mistake: Mistake, pictures: Pictures) -> str:
    if not judged.multi_label:
        return _told(judged, mistake.row, pictures)
    label = judged.classes[mistake.label]
    what = f"{label} missed" if judged.labels[mistake.row, mistake.label] else f"taken for {label}"
    lines = f"is {_labels(judged, mistake.row)}", what, f"{percent(mistake.sure, 0)} sure"
    return pictures.figure(mistake.row, judged.images[mistake.row], *lines)
