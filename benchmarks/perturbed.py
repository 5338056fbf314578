"""Any number of vectors made of a few real embeddings, in clusters as those of photos are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.Image

from extractor import Embedder
from extractor.indexes import Rows
from extractor.results import Vector
from extractor.settings import DataFolder

BLOCK = 4096
_PAIRS = 6


def real(data: DataFolder, views: int = 24) -> Vector:
    """Embeddings of shape (n, dim) of the pictures of scikit-image and scikit-learn, of some cuts of each."""
    with Embedder(data=data) as embedder:
        results = list(embedder.stream(_views(views)))
    return np.stack([result.embedding for result in results if result.embedding is not None])


def _views(count: int) -> Iterator[PIL.Image.Image]:
    import skimage
    import sklearn

    folders = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets/images"]
    draw = np.random.default_rng(0)
    for file in sorted(file for folder in folders for file in folder.iterdir()):
        if file.suffix in {".jpg", ".png"}:
            picture = PIL.Image.open(file).convert("RGB")
            yield from islice(cuts(picture, draw), count)


def cuts(
    picture: PIL.Image.Image, draw: np.random.Generator, least: float = 0.3, most: float = 1
) -> Iterator[PIL.Image.Image]:
    """Endless rectangles out of it, whose sides are shares of its own between `least` and `most`."""
    while True:
        width, height = (draw.uniform(least, most, 2) * picture.size).astype(int)
        left, top = (draw.random(2) * (picture.width - width, picture.height - height)).astype(int)
        yield picture.crop((left, top, left + width, top + height))


class Perturbed:
    """Vectors around real ones, moved along differences of real ones; gone through block by block.

    How many lie around each and how far they spread differs as much as in real collections.

    Parameters
    ----------
    real : float32 array of shape (n, dim)
    count : int
    seed : int
    """

    def __init__(self, real: Vector, count: int, seed: int = 0) -> None:
        self._real, self._count, self._seed = real, count, seed

    def __iter__(self) -> Iterator[tuple[Rows, Vector]]:
        for start in range(0, self._count, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, self._count))
            yield numbers, self._block(len(numbers), np.random.default_rng((self._seed, start)))

    def _block(self, count: int, draw: np.random.Generator) -> Vector:
        rows, sources = np.arange(count)[:, None], len(self._real)
        shares = np.zeros((count, sources), np.float32)
        shares[rows[:, 0], (sources * draw.random(count) ** 1.5).astype(int)] = 1
        spread = draw.uniform(0.03, 0.4, (count, 1)) * draw.standard_normal((count, _PAIRS))
        for sign in (1, -1):
            np.add.at(shares, (rows, draw.integers(0, sources, (count, _PAIRS))), sign * spread)
        noise = draw.standard_normal((count, self._real.shape[1]), np.float32)
        moved: Vector = shares @ self._real + 0.02 * self._real.std() * noise
        return moved
