"""`penultimate heads compare`: two versions on the same images."""

from __future__ import annotations

import json

import click

from extractor.cli.fitting import echo_left_out, embedded
from extractor.cli.options import data_option, json_option, open_source, source_options_of
from extractor.settings import DataFolder


@click.command(
    epilog="\b\nExamples:\n  penultimate heads compare cells\n  penultimate heads compare cells 3 1 --json\n"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.argument("other", type=click.IntRange(min=1), required=False)
@source_options_of("the head's own")
@data_option
@json_option
def compare(
    name: str,
    version: int | None,
    other: int | None,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> None:
    """Compare two versions of the head NAME: by default the newest with the one that answers.

    Both answer the images that were held out from both, where those are still
    there; each as it was fitted without its held-out images.
    """
    from classifiers.comparing.contest import between
    from classifiers.store.versions import load_head, serving_version, versions

    newest = versions(name, data)[-1] if version is None and serving_version(name, data) else version
    one, against = newest or 1, other or serving_version(name, data)
    own = load_head(name, data, version=one).manifest.backbone
    with open_source(data, backbone, server, provider, precision, own=own) as embeds:
        held, gone = between(name, one, against, embeds, data, embedded)
    echo_left_out(gone)
    click.echo(json.dumps(held.to_dict(), indent=2) if as_json else held.line())
