"""`penultimate backbones`: which there are, and which are ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from extractor.cli.options import data_option, json_option
from extractor.cli.variants import echo_layers, layers_options
from extractor.errors import DamagedFile, NotFound
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from extractor.backbones.catalogue import Backbone

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

    With NAME that one alone, or with --layers the layers at which it may be cut.
    """
    from extractor.backbones.catalogue import BACKBONES, find

    if layers:
        echo_layers(name, size, as_json=as_json)
        return
    if size:
        raise click.UsageError("--size is for --layers: it says for which input their outputs are")
    rows = [_row(backbone, data) for backbone in (BACKBONES if name is None else (find(name),))]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print([_COLUMNS, *(_cells(row) for row in rows)])


def _row(backbone: Backbone, data: DataFolder) -> dict[str, object]:
    return {
        "name": backbone.name,
        "source": backbone.source,
        "architecture": backbone.architecture,
        "input_px": backbone.input_px,
        "resizable": backbone.resizable,
        "resize_shorter": backbone.resize_shorter,
        "interpolation": backbone.interpolation,
        "mean": backbone.mean,
        "std": backbone.std,
        "dim": backbone.dim,
        "parameters": backbone.parameters,
        "licence": backbone.weights.licence,
        "weights": backbone.weights.source,
        "weights_bytes": backbone.weights.size,
        "weights_here": backbone.weights.find() is not None,
        "weights_advice": backbone.weights.advice,
        **_exported(backbone, data),
    }


def _exported(backbone: Backbone, data: DataFolder) -> dict[str, object]:
    """The state of the bundle; a damaged one is reported, so that the list never fails."""
    from extractor.backbones.bundle import Bundle

    try:
        bundle = Bundle.of(data, backbone.name)
    except NotFound:
        return {"exported": False, "fingerprint": None, "damage": None}
    except DamagedFile as error:
        return {"exported": False, "fingerprint": None, "damage": str(error)}
    return {"exported": True, "fingerprint": bundle.fingerprint, "damage": None}


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    return (
        str(row["name"]),
        str(row["source"]),
        f"{row['input_px']} px",
        f"{row['resize_shorter']} {row['interpolation']}",
        str(row["dim"]),
        f"{row['parameters']:,}",
        str(row["licence"]),
        f"{int(str(row['weights_bytes'])) / 1e6:.0f} MB",
        "here" if row["weights_here"] else str(row["weights_advice"]),
        "damaged" if row["damage"] else str(row["fingerprint"] or "no")[:12],
    )


def _print(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
