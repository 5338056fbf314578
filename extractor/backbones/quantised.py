"""The int8 graphs that were calibrated on a user's images and held their bound; see `calibration`.

Each provider has its own, so that what is found for one takes nothing from another.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from extractor.backbones.bundle import Bundle
from extractor.errors import DamagedFile, Unavailable
from extractor.folders import publish_folder, read_folder
from extractor.settings import DataFolder

BOUND = 0.99
"""Smallest cosine to fp32 with which an int8 graph is kept, on the golden pictures and on the user's own."""

FORMAT = 1
_MODEL = "model.onnx"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Cosines:
    """How near vectors are to what they should be."""

    smallest: float
    median: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What an int8 graph is worth on one provider.

    Attributes
    ----------
    golden : Cosines
        To the original model's vectors of the golden pictures.
    held_out : Cosines
        To the fp32 vectors of images of the user on which it was not calibrated.
    """

    golden: Cosines
    held_out: Cosines

    @property
    def smallest(self) -> float:
        """The cosine that the bound is on; -inf when a figure is NaN, which is the worst."""
        figures = (self.golden.smallest, self.held_out.smallest)
        return -math.inf if any(map(math.isnan, figures)) else min(figures)

    @property
    def holds(self) -> bool:
        """Whether the bound does."""
        return self.smallest >= BOUND

    def __str__(self) -> str:
        return (
            f"smallest cosine {self.golden.smallest:.4f} on the golden pictures (median "
            f"{self.golden.median:.4f}), {self.held_out.smallest:.4f} on images held out (median "
            f"{self.held_out.median:.4f})"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How an int8 graph was made, and what came of it.

    Attributes
    ----------
    method : str
        How the ranges of the activations were found: `minmax`, `percentile` or `entropy`.
    exact_layers : int
        How many of the first convolutions or products are left in fp32.
    calibrated, held_out : int
        Images of the user that it was made with, and that it was judged by.
    fidelity : dict of Fidelity
        By provider.
    """

    method: str
    exact_layers: int
    calibrated: int
    held_out: int
    fidelity: dict[str, Fidelity]

    @property
    def smallest(self) -> float:
        """The cosine that the bound is on, on the worst provider."""
        return min(fidelity.smallest for fidelity in self.fidelity.values())

    @property
    def held(self) -> list[str]:
        """The providers on which the bound holds."""
        return [provider for provider, fidelity in self.fidelity.items() if fidelity.holds]

    @property
    def holds(self) -> bool:
        """Whether the bound holds on every provider."""
        return len(self.held) == len(self.fidelity)

    def on(self, providers: Sequence[str]) -> Calibration:
        """The same graph, for these providers alone."""
        return replace(self, fidelity={name: self.fidelity[name] for name in providers})

    def __str__(self) -> str:
        where = "; ".join(f"{provider}/int8: {found}" for provider, found in self.fidelity.items())
        exact = f", the first {self.exact_layers} layers in fp32" if self.exact_layers else ""
        return f"{self.method}{exact}: {where}"


def keep(data: DataFolder, bundle: Bundle, graph: bytes, calibration: Calibration) -> None:
    """Put an int8 graph where `--precision int8` takes it from, for each provider of `calibration`.

    One that is there is replaced; that of another provider stays.

    Raises
    ------
    InvalidArgument
        When the folder cannot be written.
    """
    for provider in calibration.fidelity:
        facts = {
            "format": FORMAT,
            "fingerprint": bundle.fingerprint,
            "sha256": hashlib.sha256(graph).hexdigest(),
            "calibration": asdict(calibration.on([provider])),
        }
        publish_folder(folder_of(data, bundle, provider), partial(_write, graph, facts))


def _write(graph: bytes, facts: dict[str, Any], folder: Path) -> None:
    (folder / _MODEL).write_bytes(graph)
    (folder / _MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def is_kept(data: DataFolder | None, bundle: Bundle | None, provider: str) -> bool:
    """Whether there is an int8 graph that held its bound on this provider."""
    return provider in _known(data, bundle, provider).get("calibration", {}).get("fidelity", {})


def sha256(data: DataFolder | None, bundle: Bundle | None, provider: str) -> str:
    """Which int8 graph is kept for this provider; empty when there is none."""
    return str(_known(data, bundle, provider).get("sha256", ""))


def _known(data: DataFolder | None, bundle: Bundle | None, provider: str) -> dict[str, Any]:
    """What is written beside the graph; nothing when there is none."""
    if data is None or bundle is None:
        return {}
    try:
        return read_folder(folder_of(data, bundle, provider), _facts)
    except DamagedFile:
        return {}


def read(data: DataFolder | None, bundle: Bundle, provider: str) -> bytes:
    """The int8 graph of a provider, as it was written.

    Raises
    ------
    Unavailable
        When there is none, or it is damaged.
    """
    if data is None:
        raise Unavailable("an int8 graph is in a data folder, and none was named")
    place = folder_of(data, bundle, provider)
    try:
        return read_folder(place, lambda folder: _checked(folder, bundle))
    except DamagedFile as error:
        raise Unavailable(
            f"the int8 graph in {place} is not there or damaged ({error}): make it again "
            "with `penultimate tune --calibrate FOLDER --precision int8`"
        ) from error


def _checked(folder: Path, bundle: Bundle) -> bytes:
    facts = _facts(folder)
    with _damage():
        graph = (folder / _MODEL).read_bytes()
    if facts["fingerprint"] != bundle.fingerprint:
        raise DamagedFile("it is of another backbone")
    if facts["sha256"] != hashlib.sha256(graph).hexdigest():
        raise DamagedFile("its SHA-256 is not the one that was written")
    return graph


def _facts(folder: Path) -> dict[str, Any]:
    """The manifest, with all that is read from it."""
    with _damage():
        facts: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        known = facts["format"] == FORMAT and isinstance(facts["calibration"]["fidelity"], dict)
        if not (known and {"fingerprint", "sha256"} <= facts.keys()):
            raise ValueError(f"{_MANIFEST} is not one of format {FORMAT}")
        return facts


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what a missing or changed file raises into DamagedFile, on which `read_folder` reads again."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(str(error)) from error


def folder_of(data: DataFolder, bundle: Bundle, provider: str) -> Path:
    """Where a provider's int8 graph is kept."""
    return data.graphs / bundle.fingerprint / f"int8-{provider}"
