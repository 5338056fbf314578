"""`penultimate import`: from a user's own ONNX file to a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from extractor.cli.bundles import echo_bundle, note
from extractor.cli.options import data_option, json_option
from extractor.settings import DataFolder


@click.command(
    "import",
    epilog="""\b
Examples:
  penultimate import model.onnx --spec spec.toml
  penultimate import model.onnx --spec spec.toml --name inspector --force

What stands in the spec is described in docs/backbones.md. Afterwards every command
takes the name with --backbone.
""",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    required=True,
    help="A TOML file: how pictures must reach the network, and which of its tensors is the embedding.",
)
@click.option("--name", help="What it shall be called. [default: the name in the spec]")
@data_option
@click.option("--force", is_flag=True, help="Replace the backbone of that name.")
@json_option
def command(model: Path, spec: Path, name: str | None, data: DataFolder, force: bool, as_json: bool) -> None:
    """Make a backbone of your own network, the ONNX file MODEL, ready for use.

    It is run as it is, by the plainest means, on the golden pictures; what is
    made of it must give the same vectors, or is refused.
    """
    from extractor.backbones.imported import import_model

    bundle, made = import_model(model, spec, data, name=name, force=force, note=note)
    echo_bundle(bundle, "imported now" if made else None, as_json=as_json)
