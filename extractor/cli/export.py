"""`penultimate export`: from a PyTorch network to a bundle that this machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.bundles import echo_bundle, note
from extractor.cli.main import interruption
from extractor.cli.options import data_option, json_option
from extractor.cli.variants import variant_options
from extractor.settings import DEFAULT_BACKBONE, DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.variant import Variant


@click.command(
    epilog="""\b
Examples:
  penultimate export
  penultimate export efficientnet_lite2 --data /srv/penultimate
  penultimate export --force --json
  penultimate export resnet50 --weights resnet50-11ad3fa6.pth
  penultimate export timm/vit_small_patch14_dinov2
  penultimate export resnet50 --layer layer3,layer4:max --size 320 --views flip

Needs torch and timm: pip install '.[export]' in penultimate's folder. A bundle can be
copied to machines without them.
"""
)
@click.argument("name", default=DEFAULT_BACKBONE)
@data_option
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of weights for this network, .pth or .safetensors, in place of the published ones.",
)
@click.option("--force", is_flag=True, help="Make it again even when it is there, whole or damaged.")
@variant_options
@json_option
@interruption("No bundle was made or changed.")
def command(
    name: str, data: DataFolder, variant: Variant, weights: Path | None, force: bool, as_json: bool
) -> None:
    """Make the backbone NAME ready for use: an ONNX file and what proves it right.

    NAME is one that `penultimate backbones` lists (default: efficientnet_lite0),
    or timm/NAME for any model of timm. Its weights are downloaded when they are
    not on this machine. Nothing is done when the bundle is there already.
    With other layers, another size, views or profile it is a bundle of its
    own, whose name is printed: --backbone takes it everywhere.
    """
    from extractor.backbones.export import export

    bundle, made = export(name, data, variant, weights=weights, force=force, note=note)
    if (own := bundle.manifest.users_file) and weights is None:
        sentence = f"the bundle there is of a file of yours, {own}, not of the published weights"
        click.echo(f"{printable(sentence)}: --force makes it of those", err=True)
    echo_bundle(bundle, "exported now" if made else None, as_json=as_json)
