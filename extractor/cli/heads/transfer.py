"""`penultimate heads transfer`: a head on another backbone."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from extractor.cli.fitting import echo_left_out, embedded
from extractor.cli.main import SOME_FAILED
from extractor.cli.options import backbone_of, data_option, json_option, open_source, source_options
from extractor.settings import DataFolder


@click.command(
    epilog="""\b
Example:
  penultimate heads transfer cells --backbone efficientnet_lite1

\b
Exit codes: 0 all well, 3 fitted but some images are gone (listed), 1 error.
"""
)
@click.argument("name")
@click.option("--promote", is_flag=True, help="Let the new version answer from now on.")
@click.option(
    "--no-report", "reported", flag_value=False, default=True, help="Write no report.html and report.json."
)
@source_options
@data_option
@json_option
def transfer(
    name: str,
    promote: bool,
    reported: bool,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> int:
    """Fit the head NAME again on the embeddings of --backbone, as a new version.

    The labels, and which images were held out, are taken from the version that
    answers; after the test the head is fitted on these, too, where it was
    before. Images that are gone, or are not the ones that were labelled any
    more, are listed and left out.
    """
    from classifiers.reporting import make_report
    from classifiers.training.transfer import transfer as moved

    report = partial(make_report, data=data) if reported else None
    with open_source(data, backbone, server, provider, precision) as embeds:
        done = moved(
            name, embeds, backbone_of(embeds), data, embedded=embedded, promote=promote, report=report
        )
    echo_left_out(done.gone)
    facts = _facts(done)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(done, facts)))
    return SOME_FAILED if done.gone else 0


def _facts(done: Any) -> dict[str, Any]:
    manifest = done.training.head.manifest
    return {
        "name": manifest.name,
        "backbone": manifest.backbone,
        "fingerprint": manifest.fingerprint,
        "metrics": manifest.metrics,
        "before": done.before,
        "path": str(done.published.saved.path),
        **done.published.to_dict(),
        "gone": [asdict(each) for each in done.gone],
    }


def _lines(done: Any, facts: dict[str, Any]) -> list[str]:
    before = facts["before"].get("accuracy")
    was = f", where it was {before:.1%} on {facts['before']['n']:,}" if before is not None else ""
    metrics = facts["metrics"]
    return [
        f"{facts['name']}: now on {facts['backbone']} embeddings, {metrics['accuracy']:.1%} of "
        f"{metrics['n']:,} held-out images are answered rightly{was}",
        f"saved to {facts['path']}",
        *done.published.lines(),
    ]
