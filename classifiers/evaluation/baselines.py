"""What a backbone has to beat: what a picture's colours alone say of its class.

A baseline embeds like a backbone does (`Embeds`), so that the same head is
fitted on its vectors with the same folds; nothing in it was learnt elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from extractor import images, sources
from extractor.errors import PenultimateError
from extractor.preprocessing import Preprocessing
from extractor.results import ImageLike, Result, Vector
from extractor.settings import Limits, cores

GRID = 8
"""Cells along each side of the coarse picture."""

JOINT = 4
"""Steps of each channel in the histogram of colours: 64 bins."""

LEVELS = 32
"""Bins of each channel's own histogram."""

DIM = JOINT**3 + 3 * LEVELS + 3 * GRID**2

_SIDE = 64
_PLAIN = Preprocessing(
    height=_SIDE,
    width=_SIDE,
    resize_shorter=_SIDE,
    interpolation="bilinear",
    mean=(0, 0, 0),
    std=(1, 1, 1),
    decode="fast",
)
"""The largest square in the middle of the picture, made 64 pixels wide: of 128 a head is no better."""


def colour_features(pixels: NDArray[np.uint8]) -> Vector:
    """The colours of a picture, and roughly where they are.

    Three parts of about equal spread, so that one head suits them all: the
    joint histogram of the colours (4 x 4 x 4), the histogram of each channel
    (3 x 32), both as square roots of shares, and the picture at 8 x 8 pixels
    (3 x 64) in the range 0..1.

    Parameters
    ----------
    pixels : uint8 array of shape (side, side, 3)
        RGB; the side is a multiple of 8.

    Returns
    -------
    float32 array of shape (352,)
    """
    flat = pixels.reshape(-1, 3).astype(np.intp)
    joint = (flat * JOINT // 256) @ (JOINT**2, JOINT, 1)
    channels = flat * LEVELS // 256 + LEVELS * np.arange(3)
    counts = (np.bincount(joint, minlength=JOINT**3), np.bincount(channels.ravel(), minlength=3 * LEVELS))
    histograms = np.sqrt(np.concatenate(counts) / len(flat))
    cell = len(pixels) // GRID
    coarse = pixels.reshape(GRID, cell, GRID, cell, 3).mean((1, 3)) / 255
    return np.concatenate([histograms, coarse.ravel()], dtype=np.float32)


class Colours:
    """Embeds images as `colour_features`; implements `Embeds`, and remembers nothing."""

    fingerprint = hashlib.sha256(b"colours 2").hexdigest()
    dim = DIM

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def embed(self, images: Iterable[ImageLike]) -> list[Result]:
        """One result for each image, in order."""
        return list(self.stream(images))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Result]:
        """Like `embed`, as they come; each image is read when its turn comes."""
        with ThreadPoolExecutor(cores()) as pool:
            yield from pool.map(self._one, sources.several(images))

    def close(self) -> None:
        """Release nothing: it holds nothing."""

    def __enter__(self) -> Colours:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, image: ImageLike) -> Result:
        digest = None
        try:
            data = sources.read(image, self._limits)
            digest = hashlib.sha256(data).digest()
            vector = colour_features(images.decode(data, _PLAIN, self._limits))
        except PenultimateError as error:
            return Result(None, error, digest, False, self.fingerprint)
        return Result(vector, None, digest, False, self.fingerprint)
