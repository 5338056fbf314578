"""The parts of a page that show pictures: mistakes, suspected labels, near copies, and a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from classifiers.evaluation.findings import Findings
from classifiers.evaluation.judged import Judged
from classifiers.report.markup import percent, tag, words
from classifiers.report.pictures import Pictures

MOST = 24
"""Pictures of a gallery, and of a cell of the confusion matrix."""

RIGHT = 8
"""Pictures of a cell of right answers, and of a class in the sample."""

GROUPS = 12
"""Groups of near copies, with up to half as many pictures each."""


def cells(judged: Judged) -> dict[tuple[int, int], list[int]]:
    """The test images of each cell of the confusion matrix: truth, answer; the surest first."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    answers, sure = judged.answers, np.nan_to_num(judged.probabilities).max(axis=1)
    for row in np.argsort(-sure, kind="stable").tolist():
        if judged.held_out[row]:
            found[int(judged.labels[row]), int(answers[row])].append(row)
    return found


def shown_of(cell: tuple[int, int], rows: list[int]) -> list[int]:
    """The rows of a cell that are shown."""
    return rows[: RIGHT if cell[0] == cell[1] else MOST]


def mistakes(judged: Judged) -> list[int]:
    """The wrongly answered test images, the surest first."""
    wrong = np.flatnonzero(judged.held_out & (judged.answers != judged.labels))
    sure = judged.probabilities[wrong].max(axis=1)
    return [int(row) for row in wrong[np.argsort(-sure, kind="stable")]]


def sample(judged: Judged, seed: int = 0) -> dict[int, list[int]]:
    """Some images of each class."""
    order = np.random.default_rng(seed).permutation(len(judged.labels))
    of_class = judged.labels[order]
    return {at: [int(row) for row in order[of_class == at][:RIGHT]] for at in range(len(judged.classes))}


def wanted(findings: Findings) -> Iterator[int]:
    """Every row that the page shows, the most telling first."""
    judged = findings.judged
    yield from mistakes(judged)[:MOST]
    yield from (suspect.row for suspect in findings.suspects[:MOST])
    matrix = cells(judged)
    for cell in sorted(matrix, key=lambda cell: (cell[0] == cell[1], cell)):
        yield from shown_of(cell, matrix[cell])
    for group in findings.neighbourhood.groups[:GROUPS]:
        yield from group[: MOST // 2]
    yield from (each.row for each in findings.neighbourhood.unusual[:MOST])
    for rows in sample(judged).values():
        yield from rows


def mistake_gallery(judged: Judged, pictures: Pictures) -> str:
    """The most confident errors."""
    return gallery(_told(judged, row, pictures) for row in mistakes(judged)[:MOST])


def suspect_gallery(findings: Findings, pictures: Pictures) -> str:
    """Labels that are probably wrong."""
    judged = findings.judged
    return gallery(
        pictures.figure(
            suspect.row,
            judged.images[suspect.row],
            f"labelled {judged.classes[suspect.given]}",
            f"rather {judged.classes[suspect.likely]}",
            f"{percent(judged.probabilities[suspect.row, suspect.likely], 0)} against "
            f"{percent(judged.probabilities[suspect.row, suspect.given], 0)}",
        )
        for suspect in findings.suspects[:MOST]
    )


def copies_gallery(findings: Findings, pictures: Pictures) -> str:
    """Groups of near copies; those on both sides of the split, or of several labels, are marked."""
    judged = findings.judged
    parts = []
    for group in findings.neighbourhood.groups[:GROUPS]:
        labels = {judged.classes[judged.labels[row]] for row in group}
        sides = {bool(judged.held_out[row]) for row in group}
        marks = [f"{len(group)} images"]
        marks += [f"labels differ: {', '.join(sorted(labels))}"] if len(labels) > 1 else []
        marks += ["some were fitted on, some tested on"] if len(sides) > 1 else []
        figures = (
            pictures.figure(
                row,
                judged.images[row],
                judged.classes[judged.labels[row]],
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
            judged.classes[judged.labels[each.row]],
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


def cell_gallery(judged: Judged, rows: list[int], pictures: Pictures) -> str:
    """The images of one cell of the confusion matrix."""
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
