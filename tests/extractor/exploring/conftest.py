"""What tests of exploring share: real embeddings of planted copies and kinds, in real collections."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from extractor.collections import Collection, Item
from extractor.embedder import Embedder
from extractor.exploring.rows import Rows, read_rows
from extractor.settings import DEFAULT_BACKBONE, DataFolder

SUBJECTS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
PARTS = 8

Shelve = Callable[..., Collection]
Read = Callable[..., Rows]


class Planted(NamedTuple):
    """Real embeddings of which we know what belongs together.

    Attributes
    ----------
    whole, saved, smaller : float32 arrays of shape (8, dim)
        Of each subject: the picture, it as JPEG of quality 90, and it at three quarters of its size.
    parts : float32 array of shape (64, dim)
        Of each subject, one after the other, eight different parts.
    """

    whole: np.ndarray
    saved: np.ndarray
    smaller: np.ndarray
    parts: np.ndarray


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def part_of(image: Image.Image, rng: random.Random) -> Image.Image:
    share = rng.uniform(0.55, 0.8)
    width, height = int(image.width * share), int(image.height * share)
    left, top = rng.randrange(image.width - width), rng.randrange(image.height - height)
    return image.crop((left, top, left + width, top + height))


@pytest.fixture(scope="session")
def planted(exported_data: DataFolder, pictures: list[Path]) -> Planted:
    by_name = {file.stem: file for file in pictures}
    images = [Image.open(by_name[subject]).convert("RGB") for subject in SUBJECTS]
    rng = random.Random(0)
    with Embedder(DEFAULT_BACKBONE, data=exported_data, precision="fp32") as embedder:

        def embeddings(files: list[bytes]) -> np.ndarray:
            return np.stack([result.embedding for result in embedder.embed(files)])

        return Planted(
            embeddings([encoded(image) for image in images]),
            embeddings([encoded(image, "JPEG", quality=90) for image in images]),
            embeddings(
                [encoded(image.resize((image.width * 3 // 4, image.height * 3 // 4))) for image in images]
            ),
            embeddings([encoded(part_of(image, rng)) for image in images for _ in range(PARTS)]),
        )


@pytest.fixture
def shelve(tmp_path: Path) -> Iterator[Shelve]:
    """`shelve(vectors, digests=None, labels=None, ids=None)`: a collection of them, with ids from 0 on."""
    made: list[Collection] = []

    def shelved(vectors, digests=None, labels=None, ids=None) -> Collection:
        name = f"shelf{len(made)}"
        dim = len(vectors[0]) if len(vectors) else 4
        shelf = Collection.create(
            DataFolder(tmp_path / "shelves"), name, fingerprint="f" * 64, dim=dim, backbone="any"
        )
        made.append(shelf)
        shelf.add(
            Item(
                ids[place] if ids else str(place),
                vector,
                digests[place] if digests else b"",
                label=labels[place] if labels else None,
            )
            for place, vector in enumerate(vectors)
        )
        return shelf

    yield shelved
    for shelf in made:
        shelf.close()


@pytest.fixture
def read(shelve: Shelve) -> Iterator[Read]:
    """`read(vectors, ...)`: the same, read for exploring."""
    opened: list[Rows] = []

    def reading(*given, **more) -> Rows:
        opened.append(read_rows(shelve(*given, **more)))
        return opened[-1]

    yield reading
    for rows in opened:
        rows.close()


def perturbed(vectors: np.ndarray, count: int, noise: float = 0.02) -> np.ndarray:
    """So many unit vectors around some of those given."""
    rng = np.random.default_rng(0)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = units[rng.integers(0, len(units), count)]
    return (chosen + rng.normal(0, noise, chosen.shape)).astype(np.float32)
