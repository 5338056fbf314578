"""`penultimate heads list` and `show`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from extractor.cli.options import data_option, json_option
from extractor.errors import PenultimateError
from extractor.settings import DataFolder
from extractor.text import printable

_COLUMNS = ("version", "answers", "kind", "classes", "images", "accuracy", "backbone", "created")


@click.command("list", epilog="\b\nExample:\n  penultimate heads list --json\n")
@data_option
@json_option
def list_(data: DataFolder, as_json: bool) -> None:
    """List the heads with the version that answers."""
    echo_heads(data, as_json)


@click.command(
    epilog="\b\nExamples:\n  penultimate heads show cells\n  penultimate heads show cells --version 2\n"
)
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="Show all that is known of this one.")
@data_option
@json_option
def show(name: str, version: int | None, data: DataFolder, as_json: bool) -> None:
    """Show the versions of the head NAME, or all that one says of itself."""
    from classifiers.store.versions import facts_of, serving_version, versions

    answering = serving_version(name, data)
    if version is not None:
        facts = {
            "version": version,
            "serving": version == answering,
            **facts_of(name, data, version, whole=True),
        }
        click.echo(json.dumps(facts, indent=2) if as_json else _described(facts))
        return
    rows = [_row(name, number, number == answering, data, whole=True) for number in versions(name, data)]
    click.echo(json.dumps(rows, indent=2) if as_json else _table(rows, _COLUMNS))


def echo_heads(data: DataFolder, as_json: bool) -> None:
    """Print each head with the version that answers; a damaged one does not hide the others."""
    from classifiers.store.versions import head_names

    rows = [_answering(name, data) for name in head_names(data)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo(_table(rows, ("name", *(column for column in _COLUMNS if column != "answers"))))
    else:
        click.echo("no heads yet: fit one with `fit-head SOURCE --name NAME`")


def _answering(name: str, data: DataFolder) -> dict[str, Any]:
    from classifiers.store.versions import serving_version, versions

    try:
        number = serving_version(name, data)
    except PenultimateError as error:
        return {"name": name, "damage": str(error)}
    return _row(name, number, True, data) | {"versions": versions(name, data)}


def _row(name: str, number: int, answers: bool, data: DataFolder, *, whole: bool = False) -> dict[str, Any]:
    from classifiers.store.versions import facts_of, lost_promotion

    row: dict[str, Any] = {"name": name, "version": number, "answers": answers}
    if answers and (lost := lost_promotion(name, data)):
        row["damage"] = (
            f"version {lost} of the head {name!r} was promoted and is not there: version {number} answers; "
            f"if it is to, say so with `penultimate heads promote {name} --version {number}`"
        )
    try:
        facts: dict[str, Any] = dict(facts_of(name, data, number, whole=whole))
    except PenultimateError as error:
        return row | {"damage": str(error)}
    fitting, metrics = facts["fitting"], facts["metrics"]
    return row | {
        "kind": facts["kind"],
        "classes": len(facts["classes"]),
        "images": _fitted_on(fitting),
        "accuracy": metrics.get("accuracy"),
        "backbone": facts["backbone"],
        "fingerprint": facts["fingerprint"],
        "created": facts["created"],
    }


def _fitted_on(fitting: dict[str, Any]) -> int:
    """Images that the head has learnt from: with those of the test and of classes added, where it was so."""
    later = ("test", "aside") if fitting.get("refitted_on_all") else ()
    counts = [fitting.get(part, 0) for part in ("train", *later)]
    return sum([*counts, *(each["rows"] for each in fitting.get("added", []))])


def _table(rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> str:
    cells = [[*columns]]
    damage = []
    for row in rows:
        cells.append([_cell(row.get(column)) for column in columns])
        if "damage" in row:
            damage.append(printable(row["damage"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, *damage])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.1%}" if isinstance(value, float) else printable(str(value))


def _described(facts: dict[str, Any]) -> str:
    """The facts of a manifest, those within others indented."""
    classes = ", ".join(facts["classes"][:20]) + (", ..." if len(facts["classes"]) > 20 else "")
    said = {**facts, "classes": f"{len(facts['classes'])}: {classes}"}
    lines = []
    for key, value in said.items():
        if isinstance(value, dict):
            plain = {name: each for name, each in value.items() if not isinstance(each, (list, dict))}
            lines += [key, *(f"  {name:20} {_fact(each)}" for name, each in plain.items())]
        elif value not in ("", [], None):
            lines.append(f"{key:22} {_fact(value)}")
    return "\n".join(map(printable, lines))


def _fact(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
