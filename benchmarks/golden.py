"""The original PyTorch pipeline against ours, on real pictures of many sizes and modes.

    python -m benchmarks.golden [--data DIR] [--backbone NAME]

For every provider and precision of the installed ONNX Runtime: the smallest and the median cosine between
the vector that the original network gives with its own transform, and ours from the file's bytes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from benchmarks.machine import describe
from extractor import DataFolder, Embedder
from extractor.backbones import catalogue
from extractor.backbones.export.networks import original, reference
from extractor.backbones.export.weights import checked_weights
from extractor.backbones.providers import installed_providers, wanted
from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE

_TRANSPARENT = {"logo", "horse"}  # the original has no rule for them
_MODES = (("JPEG", "RGB"), ("WEBP", "RGB"), ("PNG", "P"), ("JPEG", "CMYK"), ("BMP", "L"))


def photos() -> Iterator[bytes]:
    """scikit-image's pictures, and each again in another size, shape, format and mode."""
    rng = np.random.default_rng(3)
    folder = Path(skimage.__file__).parent / "data"
    for file in sorted(folder.iterdir()):
        if file.suffix not in {".png", ".jpg", ".gif"} or file.stem in _TRANSPARENT:
            continue
        yield file.read_bytes()
        format, mode = _MODES[int(rng.integers(len(_MODES)))]
        width, height = (int(side) for side in rng.integers(60, 1200, 2))
        stream = io.BytesIO()
        with Image.open(file) as image:
            image.convert("RGB").resize((width, height)).convert(mode).save(stream, format)
        yield stream.getvalue()


def cosine(a: Vector, b: Vector) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=lambda path: DataFolder(Path(path)), default=DataFolder.default())
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    options = parser.parse_args()
    backbone = catalogue.find(options.backbone)
    network = original(backbone, checked_weights(backbone))
    pictures = list(photos())
    expected = [reference(network, backbone, Image.open(io.BytesIO(picture)))[0] for picture in pictures]
    print(describe())
    print(f"{options.backbone}, {len(pictures)} pictures")
    for provider in installed_providers():
        for numerics in wanted(provider, "auto"):
            with Embedder(
                options.backbone,
                data=options.data,
                provider=provider,
                precision=numerics.precision,
                cache=None,
            ) as embedder:
                vectors = [result.embedding for result in embedder.embed(pictures)]
                bound = embedder.bundle.manifest.min_cosine[numerics.precision]
            cosines = [cosine(a, b) for a, b in zip(vectors, expected, strict=True) if a is not None]
            assert len(cosines) == len(pictures)
            verdict = "ok" if min(cosines) >= bound else "UNDER THE BOUND"
            print(
                f"{numerics!s:14} smallest {min(cosines):.6f}  median {np.median(cosines):.6f}  "
                f"bound {bound}  {verdict}"
            )


if __name__ == "__main__":
    main()
