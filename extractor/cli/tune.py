"""`penultimate tune`: measure batch sizes and parallel runs on this machine, and remember what suits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.options import data_option, json_option, provider_options
from extractor.cli.scheduling import latency_option
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.measured import Measured, Measurements
    from extractor.backbones.providers import Numerics

_HEAD = ("provider", "precision", "batch", "parallel", "images/s", "p50 ms", "p99 ms", "cosine", "")


@dataclass(frozen=True)
class Report:
    """What was found of one provider and precision; `trouble` says why nothing is remembered."""

    provider: str
    precision: str
    golden_cosine: float | None = None
    batch_size: int | None = None
    parallel: int | None = None
    trouble: str = ""
    table: list[Measured] = field(default_factory=list)


@click.command(
    epilog="""\b
Examples:
  penultimate tune
  penultimate tune --provider cpu --latency-bound 20
  penultimate tune --json

\b
Each line is a batch size with a number of parallel runs; the arrow marks the choice: the most images
a second within the bound, and of those alike the smallest batch and the fewest runs. It is remembered
in the data folder, and every command takes it from there. Measure while nothing else runs.
Exit codes: 0 all were measured and remembered, 1 some were not.
"""
)
@provider_options
@latency_option
@data_option
@json_option
def command(
    data: DataFolder, as_json: bool, backbone: str, provider: str, precision: str, latency_bound: float
) -> int:
    """Measure which batch size and number of parallel runs suit this machine."""
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.measured import Measurements

    bundle = Bundle.of(data, backbone)
    kept = Measurements(data, bundle, latency_bound / 1e3)
    reports = []
    for report in _reports(bundle, kept, provider, precision):
        reports.append(report)
        if not as_json:
            _print(report, head=len(reports) == 1)
    if as_json:
        click.echo(json.dumps(_document(bundle, latency_bound, reports), indent=2))
    return 1 if any(report.trouble for report in reports) else 0


def _reports(bundle: Bundle, kept: Measurements, provider: str, precision: str) -> Iterator[Report]:
    from extractor.backbones.providers import wanted

    for numerics in wanted(provider, precision):
        yield _report(bundle, kept, numerics)


def _report(bundle: Bundle, kept: Measurements, numerics: Numerics) -> Report:
    """Prove and measure."""
    from extractor.backbones.session import Session
    from extractor.backbones.tuning import tune

    try:
        cosine = Session(bundle, numerics).prove(bundle)
    except PenultimateError as error:
        return Report(*numerics, trouble=str(error))
    tuned = tune(bundle, numerics, kept)
    schedule = tuned.schedule
    return Report(*numerics, cosine, schedule.max_batch, schedule.parallel, tuned.trouble, tuned.table)


def _print(report: Report, *, head: bool) -> None:
    if head:
        click.echo(_line(_HEAD))
    for row in report.table:
        click.echo(_line(_cells(report, row)))
    if report.trouble:
        click.echo(f"{report.provider}/{report.precision}: {printable(report.trouble)}")


def _cells(report: Report, row: Measured) -> tuple[str, ...]:
    chosen = (row.batch_size, row.parallel) == (report.batch_size, report.parallel)
    return (
        report.provider,
        report.precision,
        str(row.batch_size),
        str(row.parallel),
        f"{row.images_per_second:.0f}",
        f"{row.p50 * 1e3:.1f}",
        f"{row.p99 * 1e3:.1f}",
        f"{report.golden_cosine:.5f}",
        "<-" if chosen else "",
    )


def _line(cells: tuple[str, ...]) -> str:
    return " ".join(f"{cell:>9}" for cell in cells).rstrip()


def _document(bundle: Bundle, latency_bound: float, reports: list[Report]) -> dict[str, Any]:
    return {
        "backbone": bundle.manifest.backbone,
        "fingerprint": bundle.fingerprint,
        "latency_bound_ms": latency_bound,
        "measured": [asdict(report) for report in reports],
    }
