"""The model card: what went into a head, and what it must not be taken for."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from classifiers.kinds import title

if TYPE_CHECKING:
    from classifiers.training.train import Training


def data_digest(digests: Iterable[str], labels: Iterable[str]) -> str:
    """SHA-256 over the pictures' digests and labels, whatever their order."""
    rows = sorted(f"{digest}\t{label}\n" for digest, label in zip(digests, labels, strict=True))
    return hashlib.sha256("".join(rows).encode("utf-8", "surrogatepass")).hexdigest()


def model_card(training: Training, weights: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a head is made of, as plain values.

    Parameters
    ----------
    training : Training
    weights : mapping, optional
        Of the backbone, as its bundle's manifest says: `source` and `licence`.
    """
    manifest, known, unseen = training.head.manifest, training.known, training.unseen
    digests = [*known.digests.tolist(), *unseen.digests.tolist()]
    labels = [*known.texts, *unseen.texts]
    counts = Counter([*known.members()[0], *unseen.members()[0]])
    return {
        "name": manifest.name,
        "kind": title(manifest.kind),
        "setting": training.choice.setting.named(),
        "scale": manifest.fitting["scale"],
        "temperature": training.choice.temperature,
        "seed": manifest.fitting["seed"],
        **({"augment": manifest.fitting["augment"]} if "augment" in manifest.fitting else {}),
        "classes": {label: counts[label] for label in manifest.classes},
        "images": {"train": len(known.y), "test": len(unseen.y), "left_out": len(training.rejected)},
        "data_digest": data_digest(digests, labels),
        "backbone": manifest.backbone,
        "fingerprint": manifest.fingerprint,
        "dim": manifest.dim,
        "weights": dict(weights) if weights else None,
        "created": manifest.created,
        "versions": {**manifest.versions, "python": platform.python_version()},
    }
