"""Real photos for benchmarks, from packages."""

from __future__ import annotations

import io
import random
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def jpegs(count: int = 400, width: int = 500) -> list[bytes]:
    """Distinct photos of so many pixels (500 x 375: about 110 kB each), cut from scikit-image's pictures."""
    import PIL.Image
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    names = ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"]
    originals = [PIL.Image.open(folder / name).convert("RGB") for name in names]
    draw = random.Random(0)
    return [_cut(original, draw, width) for original in islice(cycle(originals), count)]


def _cut(original: Image, draw: random.Random, width: int) -> bytes:
    taken = draw.uniform(0.7, 1.0) * min(original.width, original.height * 4 / 3)
    left, top = draw.uniform(0, original.width - taken), draw.uniform(0, original.height - taken * 3 / 4)
    cut = original.resize((width, width * 3 // 4), box=(left, top, left + taken, top + taken * 3 / 4))
    stream = io.BytesIO()
    cut.save(stream, "JPEG", quality=98)
    return stream.getvalue()


def solar_cells(count: int = 400) -> list[bytes]:
    """PNG photos of 300 x 300 pixels, from elpv-dataset."""
    import elpv_dataset

    folder = Path(elpv_dataset.__file__).parent
    return [path.read_bytes() for path in sorted(folder.rglob("*.png"))[:count]]
