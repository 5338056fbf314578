"""`penultimate tune`: measure batch sizes and parallel runs on this machine, and remember what suits it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
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
    from extractor.backbones.quantised import Calibration

_HEAD = (
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


@dataclass(frozen=True)
class Report:
    """What was found of one provider and precision; `trouble` says why nothing is remembered.

    `golden_cosine` is the smallest, to the vectors of the original network.
    """

    provider: str
    precision: str
    golden_cosine: float | None = None
    golden_median: float | None = None
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
  penultimate tune --calibrate photos --precision int8

\b
Each line is a batch size with a number of parallel runs; the arrow marks the choice: the most images
a second within the bound, and of those alike the smallest batch and the fewest runs. It is remembered
in the data folder, and every command takes it from there. Measure while nothing else runs.
The cosines are to the original network's vectors of the golden pictures, the smallest and the median;
MB is the memory in use: of the GPU, or else of this whole process.
Exit codes: 0 all were measured and remembered, 1 some were not.
"""
)
@provider_options
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help="First make an int8 graph of the images there; kept only if it holds its bound on others of them.",
)
@latency_option
@data_option
@json_option
def command(
    data: DataFolder,
    as_json: bool,
    backbone: str,
    provider: str,
    precision: str,
    calibrate: Path | None,
    latency_bound: float,
) -> int:
    """Measure which batch size and number of parallel runs suit this machine."""
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.measured import Measurements

    if calibrate and precision not in ("auto", "int8"):
        raise click.UsageError(f"--calibrate makes an int8 graph: leave --precision {precision} out")
    bundle = Bundle.of(data, backbone)
    calibration = _calibrated(bundle, data, calibrate, provider) if calibrate else None
    kept = Measurements(data, bundle, latency_bound / 1e3)
    reports = []
    for report in _reports(bundle, kept, provider, precision):
        reports.append(report)
        if not as_json:
            _print(report, head=len(reports) == 1)
    if as_json:
        click.echo(json.dumps(_document(bundle, latency_bound, reports, calibration), indent=2))
    return 1 if any(report.trouble for report in reports) else 0


def _calibrated(bundle: Bundle, data: DataFolder, folder: Path, provider: str) -> Calibration:
    from extractor import sources
    from extractor.backbones.calibration import calibrate

    pictures = _readable(sources.find([str(folder)]))
    return calibrate(bundle, data, pictures, provider, lambda text: click.echo(text, err=True))


def _readable(files: Iterator[str]) -> Iterator[bytes]:
    from extractor import sources

    for file in files:
        try:
            yield sources.read(file)
        except PenultimateError as error:
            click.echo(printable(f"{file} is left out: {error}"), err=True)


def _reports(bundle: Bundle, kept: Measurements, provider: str, precision: str) -> Iterator[Report]:
    from extractor.backbones.providers import wanted

    for numerics in wanted(provider, precision, bundle, kept.data):
        yield _report(bundle, kept, numerics)


def _report(bundle: Bundle, kept: Measurements, numerics: Numerics) -> Report:
    """Prove and measure."""
    from extractor.backbones.session import Session
    from extractor.backbones.tuning import tune

    try:
        session = Session(bundle, numerics, data=kept.data)
        cosine, middle = session.prove(bundle), median(session.golden_cosines(bundle))
    except PenultimateError as error:
        return Report(*numerics, trouble=str(error))
    tuned = tune(bundle, numerics, kept)
    chosen = tuned.schedule
    return Report(*numerics, cosine, middle, chosen.max_batch, chosen.parallel, tuned.trouble, tuned.table)


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
        f"{report.golden_median:.5f}",
        f"{row.memory / 1e6:.0f}",
        "<-" if chosen else "",
    )


def _line(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:>9}" for cell in cells).rstrip()


def _document(
    bundle: Bundle, latency_bound: float, reports: list[Report], calibration: Calibration | None
) -> dict[str, Any]:
    return {
        "backbone": bundle.manifest.backbone,
        "fingerprint": bundle.fingerprint,
        "latency_bound_ms": latency_bound,
        "measured": [asdict(report) for report in reports],
        **({"calibration": asdict(calibration)} if calibration else {}),
    }
