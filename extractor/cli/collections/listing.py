"""`penultimate collections list`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.options import data_option, json_option
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections.info import Info

_COLUMNS = ("name", "items", "bytes", "backbone", "fingerprint", "index", "recall@10", "labels")


@click.command("list", epilog="Example: penultimate collections list --json")
@data_option
@json_option
def list_(data: DataFolder, as_json: bool) -> None:
    """List the collections: items, bytes on disk, backbone, kind of index and its measured recall."""
    echo_list(data, as_json=as_json)


def echo_list(data: DataFolder, *, as_json: bool) -> None:
    """Print all collections; a damaged one is named, and does not hide the others."""
    from extractor.collections.collection import names

    found = [(name, _info(data, name)) for name in names(data)]
    if as_json:
        click.echo(json.dumps([_as_object(name, info) for name, info in found], indent=2))
        return
    if not found:
        click.echo("there are none yet: make one with `penultimate index NAME PATH...`", err=True)
        return
    rows = [_COLUMNS, *(_as_row(info) for _, info in found if not isinstance(info, str))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    for name, info in found:
        if isinstance(info, str):
            click.echo(f"{name}: {info}", err=True)


def _info(data: DataFolder, name: str) -> Info | str:
    from extractor.collections import Collection

    try:
        with Collection.open(data, name) as collection:
            return collection.info()
    except PenultimateError as error:
        return printable(error)


def _as_object(name: str, info: Info | str) -> dict[str, Any]:
    if isinstance(info, str):
        return {"name": name, "error": info}
    facts = dataclasses.asdict(info)
    counts = [{"label": label, "count": count} for label, count in info.labels.items()]
    return {**facts, "labels": counts, "settings": dict(info.settings)}


def _as_row(info: Info) -> tuple[str, ...]:
    recall = "not measured" if info.index.recall is None else f"{info.index.recall:.3f}"
    labels = sum(label is not None for label in info.labels)
    return (
        info.name,
        f"{info.count:,}",
        f"{info.bytes:,}",
        info.backbone,
        info.fingerprint[:12],
        info.index.kind,
        recall,
        f"{labels:,}",
    )
