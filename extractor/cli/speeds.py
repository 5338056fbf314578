"""The table of what was measured of each provider, as `tune` and `doctor` print it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.measured import Measured
    from extractor.backbones.standing import Standing

_COLUMNS = (
    "provider",
    "precision",
    "batch",
    "parallel",
    "images/s",
    "p50 ms",
    "p99 ms",
    "cosine",
    "median",
    "MB",
)
EXPLANATION = (
    "The cosines are to the original network's vectors of the golden pictures, the smallest and the median;\n"
    "MB is the memory in use: of the GPU, or else of this whole process."
)


def head() -> str:
    """The line above all others."""
    return _line(_COLUMNS)


def lines(standing: Standing) -> Iterator[str]:
    """A line for each batch size and number of parallel runs; an arrow at the schedule that is taken."""
    for row in standing.table:
        yield _line(_cells(standing, row))
    if standing.trouble:
        yield f"{standing.provider}/{standing.precision}: {printable(standing.trouble)}"


def _cells(standing: Standing, row: Measured) -> tuple[str, ...]:
    chosen = (row.batch_size, row.parallel) == (standing.batch_size, standing.parallel)
    return (
        standing.provider,
        standing.precision,
        str(row.batch_size),
        str(row.parallel),
        f"{row.images_per_second:.0f}",
        f"{row.p50 * 1e3:.1f}",
        f"{row.p99 * 1e3:.1f}",
        f"{standing.golden_cosine:.5f}",
        f"{standing.golden_median:.5f}",
        f"{row.memory / 1e6:.0f}",
        "<-" if chosen else "",
    )


def _line(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:>9}" for cell in cells).rstrip()
