"""`penultimate backbones`: which there are, and which are ready."""

from __future__ import annotations

import json
from typing import Any

import click

from extractor.cli.bundles import size_text
from extractor.cli.options import data_option, json_option
from extractor.cli.variants import echo_layers, layers_options
from extractor.settings import DataFolder

_COLUMNS = (
    "name",
    "source",
    "input",
    "resize",
    "dim",
    "parameters",
    "licence",
    "size",
    "weights",
    "exported",
)
_UNKNOWN = "-"


@click.command(
    epilog="""\b
Examples:
  penultimate backbones
  penultimate backbones --json
  penultimate backbones efficientnet_lite0 --layers

Any other model of timm is called timm/NAME.
"""
)
@click.argument("name", required=False)
@layers_options
@data_option
@json_option
def command(name: str | None, layers: bool, size: int | None, data: DataFolder, as_json: bool) -> None:
    """List the backbones: what each costs, and whether it is on this machine.

    Behind the catalogue's come the variants and imported networks that are in
    the data folder. With NAME that one alone, or with --layers the layers at which it may be cut.
    """
    from extractor.cli.listing import check_layers, rows

    if name and layers:
        check_layers(name, data)
    if layers:
        echo_layers(name, size, as_json=as_json)
        return
    if size:
        raise click.UsageError("--size is for --layers: it says for which input their outputs are")
    found = rows(data, name)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print([_COLUMNS, *map(_cells, found)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    parameters = row.get("parameters")
    return (
        row["name"],
        row["source"],
        f"{row['input_px']} px" if "input_px" in row else _UNKNOWN,
        f"{row['resize_shorter']} {row['interpolation']}" if "resize_shorter" in row else _UNKNOWN,
        str(row.get("dim", _UNKNOWN)),
        f"{parameters:,}" if parameters else _UNKNOWN,
        row.get("licence", _UNKNOWN),
        _size(row),
        "here" if row.get("weights_here") else row.get("weights_advice", _UNKNOWN),
        "damaged" if row["damage"] else str(row["fingerprint"] or "no")[:12],
    )


def _size(row: dict[str, Any]) -> str:
    """On disk of what is exported, else that of the published weights, and which of the two it is."""
    if bundle := row.get("bundle_bytes"):
        return f"{size_text(bundle)} on disk"
    weights = row.get("weights_bytes")
    return f"{size_text(weights)} of weights" if weights else _UNKNOWN


def _print(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
