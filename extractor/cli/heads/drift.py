"""`penultimate heads drift`: whether live images are still like those a head was fitted on."""

from __future__ import annotations

import json
from typing import Any

import click

from extractor.cli.options import data_option, json_option
from extractor.heads_wire.values import FALSE_ALARMS, FEWEST, Drift, DriftTest
from extractor.settings import DataFolder
from extractor.text import printable

SHOWN = 5
"""Unusual images in the text; JSON has all that are kept."""


@click.command(
    epilog="""\b
Examples:
  penultimate heads drift cells
  penultimate heads drift cells --server 127.0.0.1:50051 --json
"""
)
@click.argument("name")
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="Ask the server itself; what it writes into the data folder is up to ten seconds old.",
)
@data_option
@json_option
def drift(name: str, server: str | None, data: DataFolder, as_json: bool) -> None:
    """Say how far the images that NAME was lately asked about are from those it was fitted on.

    The server keeps a sample of the last 1,000 images that each version was
    asked about through its Heads service (`Client.head(NAME).classify`); what
    `penultimate classify` answers, also with --server, is not among them. Their
    distances to the classes, and how often each class is answered, are compared
    with the images that the head was tested on.
    """
    found = _asked(name, server) if server else _measured(name, data)
    click.echo(json.dumps(to_dict(found), indent=2) if as_json else to_text(found))


def _asked(name: str, server: str) -> Drift:
    from extractor.client import Client

    with Client(server) as client:
        return client.head(name).drift()


def _measured(name: str, data: DataFolder) -> Drift:
    from classifiers.distribution.drift import drift_of
    from classifiers.distribution.live import Live, digest_of, live_path
    from classifiers.store.versions import load_head, serving_version

    version = serving_version(name, data)
    head = load_head(name, data, version=version)
    return drift_of(head, version, Live.read(live_path(name, version, data), digest_of(head)))


def to_dict(found: Drift) -> dict[str, Any]:
    """Plain values, for JSON."""
    return {
        "name": found.name,
        "version": found.version,
        "images": found.images,
        "seen": found.seen,
        "distance": _test_dict(found.distance),
        "classes": _test_dict(found.classes),
        "ratio": found.ratio,
        "unknown": found.unknown,
        "expected_unknown": found.expected_unknown,
        "unusual": [each._asdict() | {"digest": each.digest.hex()} for each in found.unusual],
    }


def to_text(found: Drift) -> str:
    """For a person."""
    lines = [
        f"{found.name}, version {found.version}: the last {found.images:,} of {found.seen:,} live images"
    ]
    if found.ratio is not None:
        lines.append(
            f"  distance to the nearest class, median: {found.ratio:.2f} times that of held-out images"
        )
    if found.distance:
        lines.append(f"  {_verdict('distances', found.distance)}")
    if found.classes:
        lines.append(f"  {_verdict('classes', found.classes)}")
    if found.unknown is not None and found.expected_unknown is not None:
        lines.append(f"  unknown: {found.unknown:.1%}, where {found.expected_unknown:.1%} are expected")
    if not (found.distance or found.classes):
        lines.append(f"  {_missing(found)}")
    if found.unusual:
        lines.append("  the furthest from all classes:")
    for each in found.unusual[:SHOWN]:
        name = printable(each.id) or each.digest.hex()
        lines.append(f"    {each.distance:8.2f}  {printable(each.label)}  {name}")
    return "\n".join(lines)


def _missing(found: Drift) -> str:
    """Why nothing can be said."""
    if not found.images:
        return (
            "nothing to go by: what a server's heads are asked counts (`Client.head(NAME).classify`), and "
            "not `penultimate classify`, which answers by itself, also with --server"
        )
    if found.images < FEWEST:
        return f"too little to go by: it takes {FEWEST} live images"
    return (
        f"no verdict: live images are compared with those that the head was tested on, and it takes {FEWEST} "
        "of these, too; this one was tested on fewer, or not at all, as after --add-class. Fit it again, "
        "with more images to test on"
    )


def _verdict(what: str, test: DriftTest) -> str:
    """What a test says; chance alone says `moved` at the rate `FALSE_ALARMS`."""
    said = "have moved" if test.moved else "have not moved visibly"
    return (
        f"{what} {said}: {test.method} {test.statistic:.3g}, p = {test.p_value:.2g} "
        f"(moved: below {FALSE_ALARMS:g})"
    )


def _test_dict(test: DriftTest | None) -> dict[str, Any] | None:
    return test._asdict() | {"moved": test.moved} if test else None
