"""What `penultimate compare-backbones` gives: a table for a terminal, an HTML page, one JSON document."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from typing import Any

from classifiers.comparing.comparison import Comparison, Row
from classifiers.evaluation.paired import Difference
from classifiers.kinds import title
from extractor.text import printable

HEAD = (
    "",
    "accuracy",
    "95 % interval",
    "balanced",
    "over baseline",
    "95 % interval",
    "images/s",
    "dim",
    "size",
)
MARKS = {"best": "*", "alike": "=", "": " "}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backbones compared</title>
<style>
body {{ font-family: sans-serif; max-width: 75rem; margin: 1.5em auto; padding: 0 1em; color: #222; }}
p, td:first-child {{ overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: 0.3em 0.5em; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }}
td:first-child {{ text-align: left; white-space: normal; min-width: 8em; max-width: 16em; }}
tr.best {{ font-weight: bold; }}
line {{ stroke: #ccc; stroke-width: 0.3; }}
rect {{ fill: #90caf9; }}
circle {{ fill: #0d47a1; }}
</style>
<h1>Backbones compared</h1>
<p>{heading}</p>
<div class="scroll">
<table>
<tr>{head}</tr>
{rows}
</table>
</div>
{text}
</html>
"""


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Everything, as plain values for JSON; shares are from 0 to 1."""
    return {
        "head": asdict(comparison.recipe),
        "folds": comparison.folds,
        "pictures": comparison.pictures,
        "copies": comparison.copies,
        "best": comparison.rows[0].name,
        "best_baseline": comparison.best_baseline.name,
        "rows": [_row(row) for row in comparison.rows],
        "rejected": [asdict(each) for each in comparison.rejected],
    }


def to_text(comparison: Comparison) -> str:
    """The table and what follows from it, as lines for a terminal."""
    lines = [
        heading(comparison),
        "",
        *_aligned([HEAD, *(cells(row) for row in comparison.rows)]),
        legend(comparison),
        *verdicts(comparison),
        *_notes(comparison),
    ]
    return "\n".join(map(printable, lines))


def to_html(comparison: Comparison, source: str, made: date) -> str:
    """The same as a page of its own, which says of what and when: nothing is loaded from elsewhere."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in (*HEAD, "accuracy, 0 to 100 %"))
    rows = "\n".join(map(_html_row, comparison.rows))
    below = [legend(comparison), *verdicts(comparison), *_notes(comparison)]
    text = "\n".join(f"<p>{html.escape(printable(line))}</p>" for line in below)
    above = html.escape(printable(f"{source}, {made:%Y-%m-%d}: {heading(comparison)}"))
    return _PAGE.format(heading=above, head=head, rows=rows, text=text)


def heading(comparison: Comparison) -> str:
    """What was compared, in one line."""
    kind = title(comparison.recipe.kind)
    total, classes = sum(comparison.pictures.values()), len(comparison.pictures)
    copies = f" ({comparison.copies:,} exact copies left out)" if comparison.copies else ""
    return (
        f"{kind} on {total:,} pictures of {classes} classes{copies}: "
        f"{comparison.folds} folds, seed {comparison.recipe.seed}"
    )


def legend(comparison: Comparison) -> str:
    """What the marks mean."""
    alike = any(row.mark == "alike" for row in comparison.rows)
    return f"{MARKS['best']} the most accurate" + (f"; {MARKS['alike']} perhaps as accurate" if alike else "")


def verdicts(comparison: Comparison) -> Iterator[str]:
    """A line for each backbone that does not beat the best baseline beyond chance, with the figures."""
    bar = repr(comparison.best_baseline.name)
    for row in comparison.rows:
        if row.gain and row.negative_transfer:
            share, interval = _gain(row.gain)
            if row.gain.below:
                yield f"negative transfer: {row.name} does worse than {bar}: {share} points ({interval})"
            else:
                yield (
                    f"negative transfer not ruled out: {row.name} is not shown to help: {share} points over "
                    f"{bar}, and the interval reaches {_points(row.gain.interval[0])}"
                )


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table, in the order of `HEAD`."""
    entrant = row.entrant
    low, high = row.metrics.interval
    return (
        f"{MARKS[row.mark]} {row.name}",
        percent(row.metrics.accuracy),
        f"{100 * low:.1f} to {100 * high:.1f}",
        percent(row.metrics.balanced_accuracy),
        *_gain(row.gain),
        f"{entrant.images_per_second:,.0f}" if entrant and entrant.images_per_second else "-",
        f"{entrant.features.X.shape[1]:,}" if entrant else "-",
        f"{entrant.bundle_bytes / 1e6:,.1f} MB" if entrant and entrant.bundle_bytes else "-",
    )


def percent(share: float) -> str:
    """A share for a person."""
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _gain(gain: Difference | None) -> tuple[str, str]:
    if gain is None:
        return "-", "-"
    low, high = map(_points, gain.interval)
    return _points(gain.share), f"{low} to {high}"


def _row(row: Row) -> dict[str, Any]:
    entrant, metrics = row.entrant, row.metrics
    return {
        "name": row.name,
        "baseline": row.baseline,
        "mark": row.mark,
        "accuracy": metrics.accuracy,
        "interval": metrics.interval,
        "balanced_accuracy": metrics.balanced_accuracy,
        "macro_f1": metrics.macro_f1,
        "over_baseline": asdict(row.gain) if row.gain else None,
        "negative_transfer": row.negative_transfer,
        "images_per_second": entrant.images_per_second if entrant else None,
        "dim": entrant.features.X.shape[1] if entrant else None,
        "bundle_bytes": entrant.bundle_bytes if entrant else None,
        "fingerprint": entrant.features.fingerprint if entrant else None,
        "converged": row.converged,
        "confusion": metrics.confusion,
    }


def _html_row(row: Row) -> str:
    """One line of the page's table, its interval drawn."""
    texts = "".join(f"<td>{html.escape(printable(cell))}</td>" for cell in cells(row))
    low, high = (100 * bound for bound in row.metrics.interval)
    drawing = (
        f'<svg viewBox="0 0 100 10" width="150" height="15"><line x1="0" x2="100" y1="5" y2="5"/>'
        f'<rect x="{low:.2f}" y="3" width="{high - low:.2f}" height="4"/>'
        f'<circle cx="{100 * row.metrics.accuracy:.2f}" cy="5" r="1.5"/></svg>'
    )
    return f'<tr class="{row.mark}">{texts}<td>{drawing}</td></tr>'


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(printable(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([f"{first:{widths[0]}}", *cells])


def _notes(comparison: Comparison) -> Iterator[str]:
    for row in comparison.rows:
        if not row.converged:
            yield f"note: a fit on {row.name} was stopped before it converged; its figures hold as they are"
