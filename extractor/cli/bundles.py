"""What a command says of a bundle that it made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle


def note(text: str) -> None:
    """Say what is being done."""
    click.echo(f"{text} …", err=True)


def echo_bundle(bundle: Bundle, made: str | None, *, as_json: bool) -> None:
    """Print what `bundle` is and how well it computes.

    Parameters
    ----------
    bundle : Bundle
    made : str or None
        How it was made now, such as "exported now"; None when it was there.
    as_json : bool
    """
    facts = _facts(bundle, made=made is not None)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for topic, value in _lines(facts, made or "was there already").items():
        click.echo(f"{topic:12} {printable(value)}")


def _facts(bundle: Bundle, *, made: bool) -> dict[str, object]:
    from extractor.backbones.bundle import MODEL, MODEL_DATA

    manifest = bundle.manifest
    return {
        "backbone": manifest.backbone,
        "path": str(bundle.path),
        "made": made,
        "fingerprint": bundle.fingerprint,
        "dim": manifest.dim,
        "input_px": [manifest.preprocessing.height, manifest.preprocessing.width],
        "model_bytes": sum(
            (bundle.path / name).stat().st_size for name in (MODEL, MODEL_DATA) if name in manifest.files
        ),
        "golden_cosine": _smallest_cosine(bundle),
    }


def _smallest_cosine(bundle: Bundle) -> float | None:
    """How well ONNX Runtime agrees with the original network; None when it is not installed."""
    try:
        from extractor.backbones.session import open_session
    except ModuleNotFoundError:
        return None
    return open_session(bundle, "cpu", "fp32")[1]


def _lines(facts: dict[str, object], how: str) -> dict[str, object]:
    cosine = facts["golden_cosine"]
    return {
        "backbone": f"{facts['backbone']} ({how})",
        "lies in": facts["path"],
        "fingerprint": facts["fingerprint"],
        "embedding": f"float32[{facts['dim']}]",
        "model": f"{facts['model_bytes']:,} bytes",
        "golden test": "not run: ONNX Runtime is not installed (pip install '.[cpu]' in penultimate's folder)"
        if cosine is None
        else f"smallest cosine to the original network {cosine:.6f} (cpu/fp32)",
    }
