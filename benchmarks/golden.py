"""The original PyTorch pipeline against ours, on real pictures of many sizes and modes.

    python -m benchmarks.golden [--data DIR] [--backbone NAME] [--weights FILE]

For every provider and precision of the installed ONNX Runtime: the smallest and the median cosine between
the vector that the original network gives with its own transform, and ours from the file's bytes. NAME is
any that was exported to DIR, a variant too, and FILE what its `--weights` were.
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
from extractor.backbones.bundle import Bundle
from extractor.backbones.export import Judge, original_of
from extractor.backbones.export.weights import sha256
from extractor.backbones.providers import Numerics, installed_providers, wanted
from extractor.backbones.variant import name_of
from extractor.errors import InvalidArgument, PenultimateError, Unavailable
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


def reference(bundle: Bundle, weights: Path | None) -> Judge:
    """The original network of the bundle, with the same weights."""
    file, judge = original_of(bundle.manifest.backbone, weights)
    if sha256(file) != bundle.manifest.weights["sha256"]:
        raise InvalidArgument(
            f"{bundle.path} was made from other weights than {file}: name its file by --weights"
        )
    return judge


def judged(bundle: Bundle, data: DataFolder, numerics: Numerics, pictures: list[bytes]) -> list[Vector]:
    """Ours, from the files' bytes."""
    provider, precision = numerics.provider, numerics.precision
    with Embedder(
        bundle.manifest.backbone, data=data, provider=provider, precision=precision, cache=None
    ) as embedder:
        vectors = [result.embedding for result in embedder.embed(pictures)]
    found = [vector for vector in vectors if vector is not None]
    assert len(found) == len(pictures)
    return found


def line(bundle: Bundle, numerics: Numerics, cosines: list[float]) -> str:
    bound = bundle.manifest.min_cosine[numerics.precision]
    verdict = "ok" if min(cosines) >= bound else "UNDER THE BOUND"
    return (
        f"{numerics!s:14} smallest {min(cosines):.6f}  median {np.median(cosines):.6f}  "
        f"bound {bound}  {verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=lambda path: DataFolder(Path(path)), default=DataFolder.default())
    parser.add_argument("--backbone", type=name_of, default=DEFAULT_BACKBONE, help="a variant, perhaps")
    parser.add_argument("--weights", type=Path, help="the file that it was exported from, if it was one")
    options = parser.parse_args()
    try:
        bundle = Bundle.of(options.data, options.backbone)
        judge = reference(bundle, options.weights)
    except PenultimateError as error:
        raise SystemExit(f"{error}") from None
    pictures = list(photos())
    expected = [judge(Image.open(io.BytesIO(picture))) for picture in pictures]
    print(describe())
    print(f"{bundle.manifest.backbone}, {len(pictures)} pictures")
    for numerics in (each for provider in installed_providers() for each in wanted(provider, "auto")):
        try:
            found = judged(bundle, options.data, numerics, pictures)
        except Unavailable as error:
            print(f"{numerics!s:14} REFUSED: {error}")
            continue
        print(line(bundle, numerics, [cosine(a, b) for a, b in zip(found, expected, strict=True)]))


if __name__ == "__main__":
    main()
