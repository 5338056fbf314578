"""How near a profile's vectors are to the exact ones, measured on pictures for which it makes a difference.

The golden test says whether a processor computes what the original network
does, with every pixel decoded exactly; this says what the profile's other
pixels do to the vectors. The pictures are the golden ones, and some of them again
as a camera of many more pixels would take them: enlarged, with grain.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extractor import images
from extractor.backbones.bundle import Bundle
from extractor.preprocessing import Decode, Preprocessing
from extractor.results import Vector

MIN_COSINE = 0.99
"""What a profile must reach, as a figure of its own in the manifest's `min_cosine`."""

_ENLARGED = (4.2, 8.4)
"""Times the resized side, in turns: so large that a JPEG is halved, or quartered."""
_FEW = 4
_GRAIN = 5.0
"""Standard deviation of the noise, of 255: a telephone's in a room."""
_QUALITY = 92


class Nearness(NamedTuple):
    """The cosines between the vectors of a profile and the exact ones, where the pixels are others at all.

    Attributes
    ----------
    smallest, median : float
    pictures : int
        How many became other pixels.
    bound : float
        What `smallest` must reach.
    """

    smallest: float
    median: float
    pictures: int
    bound: float

    def __str__(self) -> str:
        return (
            f"cosine to the exact profile {self.smallest:.6f} at the least, {self.median:.6f} in the median "
            f"of {self.pictures} pictures that it changes (bound {self.bound})"
        )

    @property
    def trouble(self) -> str:
        """What to do about a profile that is too far from the exact one; "" when it is not."""
        return "" if self.smallest >= self.bound else "under the bound: export it without --profile"


def bounds(profile: Decode) -> dict[str, float]:
    """What a manifest's `min_cosine` says of a profile; nothing of the exact one."""
    return {} if profile == "exact" else {profile: MIN_COSINE}


def measured(bundle: Bundle, run: Callable[[Sequence[NDArray[np.uint8]]], list[Vector]]) -> Nearness:
    """Embed the pictures in the bundle's profile and exactly.

    Parameters
    ----------
    bundle : Bundle
    run : callable
        `Session.run` of that bundle.

    Raises
    ------
    Unavailable
        When this machine cannot decode so.
    """
    spec = bundle.manifest.preprocessing
    cosines = []
    for picture in pictures(bundle, spec):
        ours, exact = images.decode(picture, spec), images.decode(picture, spec.exact)
        if not np.array_equal(ours, exact):
            cosines.append(_cosine(*run([ours, exact])))
    bound = bundle.manifest.min_cosine.get(spec.decode, 1.0)
    return Nearness(min(cosines, default=1.0), float(np.median(cosines or [1.0])), len(cosines), bound)


def pictures(bundle: Bundle, spec: Preprocessing) -> Iterator[bytes]:
    """The golden pictures, and the first few again, large."""
    golden = [item.image for item in bundle.golden()]
    yield from golden
    grain = np.random.default_rng(0)
    for picture, times in zip(golden[:_FEW], itertools.cycle(_ENLARGED)):
        yield enlarged(picture, round(times * max(spec.box)), grain)


def enlarged(picture: bytes, shorter: int, grain: np.random.Generator) -> bytes:
    """A JPEG of the same scene whose shorter side is `shorter` pixels, as from a camera that has so many."""
    with Image.open(io.BytesIO(picture)) as image:
        scale = shorter / min(image.size)
        size = round(scale * image.width), round(scale * image.height)
        large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(large) + grain.normal(0, _GRAIN, (large.height, large.width, 1)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _cosine(a: Vector, b: Vector) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))
