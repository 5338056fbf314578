"""`penultimate export`: from a PyTorch network to a bundle that this machine can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from extractor.cli.options import data_option, json_option
from extractor.cli.variants import variant_options
from extractor.errors import Unavailable
from extractor.settings import DEFAULT_BACKBONE, DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.session import Session
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

    bundle, made = export(name, data, variant, weights=weights, force=force, note=_note)
    report = _report(bundle, made)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report)


def _note(text: str) -> None:
    click.echo(f"{text} …", err=True)


def _report(bundle: Bundle, made: bool) -> dict[str, object]:
    manifest = bundle.manifest
    return {
        "backbone": manifest.backbone,
        "path": str(bundle.path),
        "made": made,
        "fingerprint": bundle.fingerprint,
        "dim": manifest.dim,
        "input_px": [manifest.preprocessing.height, manifest.preprocessing.width],
        "model_bytes": bundle.model.stat().st_size,
        **_cosines(bundle),
    }


def _cosines(bundle: Bundle) -> dict[str, object]:
    """How well ONNX Runtime agrees with the original network; and a profile with the exact one."""
    try:
        from extractor.backbones.session import open_session
    except ModuleNotFoundError:
        return {"golden_cosine": None}
    session, cosine = open_session(bundle, "cpu", "fp32")
    if bundle.manifest.preprocessing.decode == "exact":
        return {"golden_cosine": cosine}
    return {"golden_cosine": cosine, **_nearness(bundle, session)}


def _nearness(bundle: Bundle, session: Session) -> dict[str, object]:
    from extractor.backbones import nearness

    try:
        found = nearness.measured(bundle, session.run)
    except Unavailable as error:  # the bundle may be for another machine
        return {"profile_cosine": None, "profile": f"not measured: {error}"}
    return {"profile_cosine": found.smallest, "profile": f"{found}{found.trouble and ', ' + found.trouble}"}


def _print(report: dict[str, object]) -> None:
    cosine = report["golden_cosine"]
    lines = {
        "backbone": f"{report['backbone']} ({'exported now' if report['made'] else 'was there already'})",
        "lies in": report["path"],
        "fingerprint": report["fingerprint"],
        "embedding": f"float32[{report['dim']}]",
        "model": f"{report['model_bytes']:,} bytes",
        "golden test": "not run: ONNX Runtime is not installed (pip install '.[cpu]' in penultimate's folder)"
        if cosine is None
        else f"smallest cosine to the PyTorch network {cosine:.6f} (cpu/fp32)",
    }
    if "profile" in report:
        lines["profile"] = report["profile"]
    for topic, value in lines.items():
        click.echo(f"{topic:12} {printable(value)}")
