"""The confusion matrix whose cells open the pictures in them, without a script."""

from __future__ import annotations

from collections.abc import Iterator

from classifiers.evaluation.judged import Judged
from classifiers.report.galleries import Cell, cell_gallery, cells, shown_of
from classifiers.report.markup import escaped, table, tag, words
from classifiers.report.pictures import Pictures

WIDEST = 30
"""Classes up to which the matrix is drawn; of more, the most frequent confusions are listed."""

LISTED = 40

HAS, LACKS = 1, 0


def matrix(judged: Judged, pictures: Pictures) -> str:
    """The matrix, or what stands in its place, and below it the pictures of each cell.

    Of many classes that is the most frequent confusions; where images may have
    several labels, each label with how often it is found.
    """
    found = cells(judged)
    if judged.multi_label:
        drawn = _by_label(judged, found)
    elif len(judged.classes) <= WIDEST:
        drawn = _drawn(judged, found)
    else:
        found = _worst(found)
        drawn = _listed(judged, found)
    opened = "".join(_opened(judged, cell, rows, pictures) for cell, rows in sorted(found.items()))
    return drawn + tag("div", opened, class_="cells")


def _drawn(judged: Judged, found: dict[Cell, list[int]]) -> str:
    labels = judged.classes
    head = tag(
        "tr",
        words("th", "truth ↓ answer →")
        + "".join(words("th", each, scope="col", title=each) for each in labels),
    )
    rows = (
        tag(
            "tr",
            words("th", label, scope="row", title=label)
            + "".join(_cell((at, answer), found, len(labels)) for answer in range(len(labels))),
        )
        for at, label in enumerate(labels)
    )
    inside = tag("table", tag("thead", head) + tag("tbody", "".join(rows)), class_="matrix")
    return tag("div", inside, class_="wide", tabindex=0)


def _by_label(judged: Judged, found: dict[Cell, list[int]]) -> str:
    """For each label the images that have it and are answered so, and the two ways to be wrong."""
    tested = int(judged.held_out.sum())

    def rows() -> Iterator[list[str]]:
        for at, label in enumerate(judged.classes):
            kinds = [(at, HAS, HAS), (at, HAS, LACKS), (at, LACKS, HAS)]
            counts = [len(found.get(cell, ())) for cell in kinds]
            links = [_link(cell, f"{n:,}") if n else "0" for cell, n in zip(kinds, counts, strict=True)]
            yield [escaped(label), *links, f"{tested - sum(counts):,}"]

    return table(["label", "found", "missed", "wrongly", "rightly not"], rows(), class_="classes")


def _cell(cell: Cell, found: dict[Cell, list[int]], classes: int) -> str:
    count = len(found.get(cell, ()))
    if not count:
        return tag("td", "0", class_="zero")
    total = sum(len(found.get((cell[0], answer), ())) for answer in range(classes))
    kind = "right" if cell[0] == cell[1] else "wrong"
    strength = f"--share:{count / total:.3f}"
    return tag("td", _link(cell, f"{count:,}"), class_=kind, style=strength)


def _worst(found: dict[Cell, list[int]]) -> dict[Cell, list[int]]:
    wrong = [cell for cell in found if cell[0] != cell[1]]
    return {cell: found[cell] for cell in sorted(wrong, key=lambda cell: (-len(found[cell]), cell))[:LISTED]}


def _listed(judged: Judged, found: dict[Cell, list[int]]) -> str:
    def rows() -> Iterator[list[str]]:
        for cell, images in found.items():
            yield [_link(cell, f"{len(images):,}"), *(escaped(judged.classes[at]) for at in cell)]

    return table(["images", "truth", "answer"], rows(), class_="confused left")


def _link(cell: Cell, text: str) -> str:
    return words("a", text, href=f"#{_anchor(cell)}")


def _opened(judged: Judged, cell: Cell, rows: list[int], pictures: Pictures) -> str:
    shown = shown_of(cell, rows)
    some = f", the surest {len(shown)} shown" if len(shown) < len(rows) else ""
    title = f"{_named(judged, cell)}: {len(rows):,}{some}"
    head = words("h3", title) + words("a", "close", href="#confusion")
    return tag(
        "section",
        tag("div", head, class_="bar-head") + cell_gallery(judged, cell, shown, pictures),
        id=_anchor(cell),
        class_="cell",
    )


def _named(judged: Judged, cell: Cell) -> str:
    """What the images of a cell have in common."""
    label = judged.classes[cell[0]]
    if judged.multi_label:
        _, has, said = cell
        return f"{label}, {'found' if said else 'missed'}" if has else f"wrongly taken for {label}"
    answer = judged.classes[cell[1]]
    return f"{label}, answered rightly" if cell[0] == cell[1] else f"{label}, taken for {answer}"


def _anchor(cell: Cell) -> str:
    return "-".join(["cell", *map(str, map(int, cell))])
