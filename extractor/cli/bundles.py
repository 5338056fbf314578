"""What a command says of a bundle that it made."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from extractor.errors import Unavailable
from extractor.settings import DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle
    from extractor.backbones.session import Session


def note(text: str) -> None:
    """Say what is being done."""
    click.echo(f"{text} …", err=True)


def exported_as(fingerprint: str, data: DataFolder) -> str | None:
    """The name of the exported backbone with that fingerprint; None when there is none."""
    from extractor.backbones.bundle import MANIFEST
    from extractor.backbones.variant import name_of

    for file in sorted(data.backbones.glob(f"*/{MANIFEST}")):
        with suppress(OSError, ValueError):  # a damaged one is said where it is used
            facts = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(facts, dict) and facts.get("fingerprint") == fingerprint:
                return name_of(file.parent.name)
    return None


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


def bundle_bytes(bundle: Bundle) -> int:
    """Size on disk of the network and what proves it right: the figure that every command gives."""
    return sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())


def size_text(count: int) -> str:
    """Two digits at the least, of bytes in the unit that suits them."""
    unit, name = (1e6, "MB") if count >= 1e6 else (1e3, "kB")
    return f"{count / unit:.0f} {name}" if count >= 10 * unit else f"{count / unit:.1f} {name}"


def model_bytes(bundle: Bundle) -> int:
    """Size of the network, in one file or two."""
    from extractor.backbones.bundle import MODEL, MODEL_DATA

    files = bundle.manifest.files
    return sum((bundle.path / name).stat().st_size for name in (MODEL, MODEL_DATA) if name in files)


def _facts(bundle: Bundle, *, made: bool) -> dict[str, object]:
    manifest = bundle.manifest
    return {
        "backbone": manifest.backbone,
        "path": str(bundle.path),
        "made": made,
        "fingerprint": bundle.fingerprint,
        "weights": manifest.weights["source"],
        "dim": manifest.dim,
        "input_px": [manifest.preprocessing.height, manifest.preprocessing.width],
        "model_bytes": model_bytes(bundle),
        "bundle_bytes": bundle_bytes(bundle),
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


def _lines(facts: dict[str, Any], how: str) -> dict[str, object]:
    cosine, size = facts["golden_cosine"], facts["bundle_bytes"]
    lines = {
        "backbone": f"{facts['backbone']} ({how})",
        "lies in": facts["path"],
        "fingerprint": facts["fingerprint"],
        "weights": facts["weights"],
        "embedding": f"float32[{facts['dim']}]",
        "size": f"{size_text(size)} on disk",
        "golden test": "not run: ONNX Runtime is not installed (pip install '.[cpu]' in penultimate's folder)"
        if cosine is None
        else f"smallest cosine to the original network {cosine:.6f} (cpu/fp32)",
    }
    return lines | ({"profile": facts["profile"]} if "profile" in facts else {})
