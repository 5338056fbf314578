"""`penultimate demo`: the other commands, one after the other, on real photos of solar cells.

Data: Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in
Electroluminescence Imagery", EU PVSEC 2018 (the `elpv-dataset` package, CC BY-NC-SA 4.0). The published
figures beside ours are from Deitsch et al., "Automatic classification of defective photovoltaic module cells
in electroluminescence images", Solar Energy 185, 2019.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.options import data_option
from extractor.errors import InvalidArgument, Unavailable
from extractor.settings import DEFAULT_BACKBONE, DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.sheets import Tile

_PUBLISHED = "published on this task: 82.44 % SVM on hand-made features, 88.42 % fine-tuned CNN"
_COLLECTION = "solar-cells"
_QUERIES, _NEIGHBOURS = 6, 8


@dataclass(frozen=True)
class Cell:
    """One photo of a solar cell and what is known of it."""

    path: Path
    defect_probability: float
    type: str


@click.command(
    epilog="""\b
Example:
  penultimate demo --out demo-output
"""
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for what the demo makes.",
)
@data_option
def command(out: Path, data: DataFolder) -> None:
    """Export, serve, embed 2,624 photos, fit two heads and search, then say where everything lies.

    Run again, it embeds nothing again.
    """
    begun = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    cells = _cells()
    if not (data.backbones / DEFAULT_BACKBONE).is_dir():
        _say("Export the backbone (once)")
        _penultimate("export", DEFAULT_BACKBONE, data=data)
    _say("Start the service")
    with _service(data) as address:
        _say(f"Embed {len(cells):,} photos of solar cells through it")
        embedded = _embed(cells, address, out, data)
    heads = [_fit(*labelled, data) for labelled in _label_sets(cells, out)]
    _say("Find look-alikes")
    files = {
        "look-alikes": _neighbours(cells, out, data),
        "embeddings": out / "cells.parquet",
        "backbone": data.backbones / DEFAULT_BACKBONE,
        "cache": data.cache,
        "collection": data.collections / _COLLECTION,
        "heads": data.heads,
    }
    _summary(embedded, heads, files, time.perf_counter() - begun)


def _cells() -> list[Cell]:
    try:
        import elpv_dataset
    except ImportError:
        raise InvalidArgument(
            "the demo needs the package elpv-dataset: run `pip install '.[demo]'` in penultimate's folder"
        ) from None
    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines() if line.strip()]
    return [Cell(folder / path, float(probability), type) for path, probability, type in rows]


@contextmanager
def _service(data: DataFolder) -> Iterator[str]:
    """The gRPC service on a free loopback port; its address, once it serves."""
    arguments = ["serve", "--address", "127.0.0.1:0", "--data", str(data.root)]
    process = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        if not ready:
            raise Unavailable(f"the service ended with code {process.wait()} before it served; see above")
        click.echo(ready.rstrip(), err=True)
        yield next(word for word in ready.split() if word.startswith("127.0.0.1:"))
    finally:
        process.terminate()
        process.wait()


def _embed(cells: list[Cell], address: str, out: Path, data: DataFolder) -> dict[str, Any]:
    paths = "\n".join(str(cell.path) for cell in cells)
    arguments = ("-", "--out", str(out / "cells.parquet"), "--server", address, "--json")
    summary: dict[str, Any] = json.loads(_penultimate("embed", *arguments, data=data, input=paths))
    return summary


def _label_sets(cells: list[Cell], out: Path) -> Iterator[tuple[str, Path]]:
    """Write the labels of both tasks: a CSV each."""
    defects = ["defective" if cell.defect_probability > 0.5 else "functional" for cell in cells]
    for name, labels in (("solar-defect", defects), ("solar-type", [cell.type for cell in cells])):
        file = out / f"{name}.csv"
        with file.open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(("path", "label"))
            table.writerows((cell.path, label) for cell, label in zip(cells, labels, strict=True))
        yield name, file


def _fit(name: str, labels: Path, data: DataFolder) -> dict[str, Any]:
    _say(f"Fit the head {name}")
    arguments = [str(labels), "--name", name, "--data", str(data.root), "--json"]
    done = _run([sys.executable, "-m", "classifiers", *arguments])
    report: dict[str, Any] = json.loads(done)
    return report


def _neighbours(cells: list[Cell], out: Path, data: DataFolder) -> Path:
    """Index the photos and draw the nearest neighbours of six of them."""
    from extractor.collections import Collection
    from extractor.sheets import Row, neighbour_sheet

    _penultimate("index", _COLLECTION, "-", data=data, input="\n".join(str(cell.path) for cell in cells))
    known = {str(cell.path): cell for cell in cells}
    rows = []
    with Collection.open(data, _COLLECTION) as collection:
        for query in _queries(cells):
            vector = collection.get(str(query.path)).vector
            (matches,) = collection.search([vector], _NEIGHBOURS + 1)
            others = [match for match in matches if match.id != str(query.path)][:_NEIGHBOURS]
            rows.append(Row(_tile(query), [_tile(known[match.id], match.distance) for match in others]))
    sheet = out / "neighbours.png"
    neighbour_sheet(rows, sheet, title="Solar cells and their nearest neighbours")
    return sheet


def _queries(cells: list[Cell]) -> list[Cell]:
    """Three surely defective and three surely functional cells, spread over the data set."""
    sure = [[cell for cell in cells if cell.defect_probability == known] for known in (1.0, 0.0)]
    each = _QUERIES // 2
    return [group[(2 * place + 1) * len(group) // (2 * each)] for group in sure for place in range(each)]


def _tile(cell: Cell, distance: float | None = None) -> Tile:
    from extractor.sheets import Tile

    defective = cell.defect_probability > 0.5
    label = f"{'defective' if defective else 'functional'}, {cell.type}"
    return Tile(str(cell.path), cell.path.name, distance, label, "#c62828" if defective else "#2e7d32")


def _summary(
    embedded: dict[str, Any], heads: list[dict[str, Any]], files: dict[str, Path], seconds: float
) -> None:
    _say("Done")
    click.echo(
        f"{embedded['images']} photos: {embedded['computed']} computed, {embedded['cached']} remembered, "
        f"in {embedded['seconds']:.1f} s ({embedded['images'] / embedded['seconds']:.0f} images/s)"
    )
    for head in heads:
        metrics = head["metrics"]
        click.echo(
            f"{head['name']}: accuracy {metrics['accuracy']:.2%} on {metrics['n']} photos kept apart "
            f"(always answering {metrics['majority']!r}: {metrics['majority_accuracy']:.2%})"
        )
    click.echo(f"solar-defect, {_PUBLISHED}")
    width = max(map(len, files))
    for what, file in files.items():
        click.echo(f"{what:{width}}  {printable(file)}")
    click.echo(f"All of it took {seconds:.1f} s. Run it again: nothing is embedded twice.")


def _penultimate(*arguments: str, data: DataFolder, input: str | None = None) -> str:
    return _run(_command(*arguments, "--data", str(data.root)), input)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "extractor.cli", *arguments]


def _run(command: list[str], input: str | None = None) -> str:
    """Run one of our commands; its progress and errors go to this terminal."""
    done = subprocess.run(command, input=input, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the demo stopped: `{' '.join(command[2:5])} ...` ended with {done.returncode}")
    return done.stdout


def _say(step: str) -> None:
    click.secho(f"\n== {step}", bold=True, err=True)
