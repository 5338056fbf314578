"""What each provider is worth here, in a sentence: installed, usable, proved."""

from __future__ import annotations

from collections.abc import Iterator

from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import (
    INSTALL,
    ONNX_NAMES,
    Numerics,
    installed_providers,
    wanted,
)
from extractor.backbones.schedule import Schedule
from extractor.backbones.session import Session
from extractor.errors import PenultimateError
from extractor.settings import DataFolder


def standings(bundle: Bundle, data: DataFolder, named: str = "auto") -> Iterator[tuple[str, str]]:
    """Each provider's name, and what is to be said of it.

    Parameters
    ----------
    bundle : Bundle
    data : DataFolder
    named : str
        The provider that the user asked for: TensorRT, whose engine takes minutes
        to build, is tried only when it was, or when its engine is there.
    """
    for provider in ONNX_NAMES:
        if provider not in installed_providers():
            yield provider, f"not installed: pip install {INSTALL[provider]} in a new environment"
        else:
            yield provider, "installed; " + ", ".join(_proofs(bundle, data, provider, named))


def _proofs(bundle: Bundle, data: DataFolder, provider: str, named: str) -> Iterator[str]:
    """What became of each precision that would be tried."""
    asked = "auto" if provider == "tensorrt" != named else provider
    candidates = [one for one in wanted(asked, "auto", bundle, data) if one.provider == provider]
    if not candidates:
        yield "no engine is built yet: `penultimate tune --provider tensorrt` does"
    for numerics in candidates:
        yield f"{numerics.precision} {_proof(bundle, data, numerics)}"


def _proof(bundle: Bundle, data: DataFolder, numerics: Numerics) -> str:
    try:
        session = Session(bundle, numerics, Schedule(1, 1), data)
        return f"passes (smallest cosine {session.prove(bundle):.5f})"
    except PenultimateError as error:
        return f"does not pass ({error})"
