"""The int8 graphs that were calibrated on a user's images and held their bound; see `calibration`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from extractor.backbones.bundle import Bundle
from extractor.errors import Unavailable
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
        """The cosine that the bound is on."""
        return min(self.golden.smallest, self.held_out.smallest)

    @property
    def holds(self) -> bool:
        """Whether the bound does; not when a figure is NaN."""
        return self.golden.smallest >= BOUND and self.held_out.smallest >= BOUND

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
    """Put an int8 graph where `--precision int8` takes it from; one that is there is replaced.

    Raises
    ------
    InvalidArgument
        When the folder cannot be written.
    """
    facts = {
        "format": FORMAT,
        "fingerprint": bundle.fingerprint,
        "sha256": hashlib.sha256(graph).hexdigest(),
        "calibration": asdict(calibration),
    }

    def write(folder: Path) -> None:
        (folder / _MODEL).write_bytes(graph)
        (folder / _MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    publish_folder(_folder(data, bundle), write)


def is_kept(data: DataFolder | None, bundle: Bundle | None, provider: str) -> bool:
    """Whether there is an int8 graph that held its bound on this provider."""
    if data is None or bundle is None:
        return False
    try:
        facts = json.loads((_folder(data, bundle) / _MANIFEST).read_text(encoding="utf-8"))
        return facts["format"] == FORMAT and provider in facts["calibration"]["fidelity"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read(data: DataFolder | None, bundle: Bundle) -> bytes:
    """The int8 graph, as it was written.

    Raises
    ------
    Unavailable
        When there is none, or it is damaged.
    """
    if data is None:
        raise Unavailable("an int8 graph is in a data folder, and none was named")
    try:
        return read_folder(_folder(data, bundle), lambda folder: _checked(folder, bundle))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unavailable(
            f"the int8 graph in {_folder(data, bundle)} is not there or damaged ({error}): make it again "
            "with `penultimate tune --calibrate FOLDER --precision int8`"
        ) from error


def _checked(folder: Path, bundle: Bundle) -> bytes:
    facts = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    graph = (folder / _MODEL).read_bytes()
    if facts["fingerprint"] != bundle.fingerprint:
        raise ValueError("it is of another backbone")
    if facts["sha256"] != hashlib.sha256(graph).hexdigest():
        raise ValueError("its SHA-256 is not the one that was written")
    return graph


def _folder(data: DataFolder, bundle: Bundle) -> Path:
    return data.graphs / bundle.fingerprint / "int8"
