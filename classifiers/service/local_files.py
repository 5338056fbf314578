"""Which names that callers gave are files of this machine: a report shows only pictures that were sent."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from extractor.settings import Limits

if TYPE_CHECKING:
    from classifiers.data.features import Features
    from classifiers.training.train import Training

ELSEWHERE = "elsewhere: "
"""Before the name of what is not here, so that it is no path: a caller must not choose what is read."""


def with_local_names(training: Training) -> Training:
    """The same, its images named by a path only where that is a file with the digest of what was sent."""
    return replace(training, known=_named(training.known), unseen=_named(training.unseen))


def _named(features: Features) -> Features:
    pairs = zip(features.images, features.digests.tolist(), strict=True)
    return replace(
        features, images=[name if _is_here(name, digest) else ELSEWHERE + name for name, digest in pairs]
    )


def _is_here(name: str, digest: str, most: int = Limits().image_bytes) -> bool:
    with suppress(OSError, ValueError):  # of a name that no file can have
        file = Path(name)
        if file.is_absolute() and file.is_file() and file.stat().st_size <= most:
            return hashlib.sha256(file.read_bytes()).hexdigest() == digest
    return False
