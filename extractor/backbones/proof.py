"""What a bundle is proved by: the golden pictures, and how near to their vectors a processor must come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from extractor.backbones.bundle import Golden
from extractor.results import Vector

GOLDEN = Path(__file__).parent / "golden"
MIN_COSINE = {"fp32": 0.9999, "bf16": 0.99, "fp16": 0.99}


def write_golden(folder: Path, embed: Callable[[Image.Image], Vector]) -> list[Golden]:
    """Write the golden pictures to the new folder `folder`, with what `embed` makes of each.

    Parameters
    ----------
    folder : Path
    embed : callable
        The judge: from an open picture to float32 [dim], by other means than those that are judged.
    """
    folder.mkdir()
    golden = []
    for picture in sorted(GOLDEN.glob("*.jpg")):
        shutil.copyfile(picture, folder / picture.name)
        with Image.open(picture) as image:
            golden.append(Golden(picture.name, picture.read_bytes(), embed(image)))
    np.save(folder / "vectors.npy", np.stack([item.vector for item in golden]))
    return golden
