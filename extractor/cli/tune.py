"""`penultimate tune`: measure batch sizes and parallel runs on this machine, and remember what suits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli import speeds
from extractor.cli.bundles import note
from extractor.cli.options import data_option, json_option, provider_options
from extractor.cli.scheduling import latency_option
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.measured import Measurements
    from extractor.backbones.quantised import Calibration
    from extractor.backbones.standing import Standing


@click.command(
    epilog=f"""\b
Examples:
  penultimate tune
  penultimate tune --provider cpu --latency-bound 20
  penultimate tune --json
  penultimate tune --calibrate photos --precision int8

\b
Each line is a batch size with a number of parallel runs; the arrow marks the choice: the most images
a second within the bound, and of those alike the smallest batch and the fewest runs. It is remembered
in the data folder, and every command takes it from there. Measure while nothing else runs.
{speeds.EXPLANATION}
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
    standings = []
    for standing in _standings(bundle, kept, provider, precision):
        standings.append(standing)
        if not as_json:
            _print(standing, first=len(standings) == 1)
    if as_json:
        click.echo(json.dumps(_document(bundle, latency_bound, standings, calibration), indent=2))
    if calibration:
        _say_kept(bundle, data, calibration)
    return 1 if any(standing.trouble for standing in standings) else 0


def _print(standing: Standing, *, first: bool) -> None:
    for line in [speeds.head()] * first + [*speeds.lines(standing)]:
        click.echo(line)


def _calibrated(bundle: Bundle, data: DataFolder, folder: Path, provider: str) -> Calibration:
    from extractor import sources
    from extractor.backbones.calibration import MOST_IMAGES, calibrate

    pictures = _readable(sources.find([str(folder)]))
    note(printable(f"reading up to {MOST_IMAGES} images of {folder} for an int8 graph, which takes minutes"))
    return calibrate(bundle, data, pictures, provider, lambda text: click.echo(text, err=True))


def _say_kept(bundle: Bundle, data: DataFolder, calibration: Calibration) -> None:
    """That the graph is kept, whatever the measuring says, what takes it, and the way back."""
    from extractor.backbones.quantised import folder_of

    folders = [str(folder_of(data, bundle, provider)) for provider in calibration.held]
    sentence = (
        f"the int8 graph is kept in {' and '.join(folders)}: --precision int8 takes it now, and auto may, in "
        "every command; --precision fp32 does not, and removing the folder undoes it"
    )
    click.echo(printable(sentence), err=True)


def _readable(files: Iterator[str]) -> Iterator[bytes]:
    from extractor import sources

    for file in files:
        try:
            yield sources.read(file)
        except PenultimateError as error:
            click.echo(printable(f"{file} is left out: {error}"), err=True)


def _standings(bundle: Bundle, kept: Measurements, provider: str, precision: str) -> Iterator[Standing]:
    """Proved, measured and remembered, one after the other."""
    from extractor.backbones.providers import wanted
    from extractor.backbones.standing import standing
    from extractor.backbones.tuning import tune

    for numerics in wanted(provider, precision, bundle, kept.data):
        yield standing(bundle, numerics, kept, lambda session: tune(bundle, session.numerics, kept))


def _document(
    bundle: Bundle, latency_bound: float, standings: list[Standing], calibration: Calibration | None
) -> dict[str, Any]:
    return {
        "backbone": bundle.manifest.backbone,
        "fingerprint": bundle.fingerprint,
        "latency_bound_ms": latency_bound,
        "measured": [asdict(standing) for standing in standings],
        **({"calibration": asdict(calibration)} if calibration else {}),
    }
