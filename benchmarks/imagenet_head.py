"""Whether the built-in head `imagenet` names what is in well-known pictures, and how often it is right.

    python -m benchmarks.imagenet_head [--data DIR] [--backbone NAME] [--photos DIR]

The known pictures ship in scikit-image and scikit-learn. With `--photos`, every image below DIR whose name,
or whose folder's name, begins with a WordNet id (`n01440764_tench.jpg`) is labelled, and top-1 is printed
with its 95 % interval beside the 88 % that it must reach on a sample of the thousand classes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import skimage
import sklearn

from benchmarks.machine import describe
from classifiers import Answer, Classification, Head, load_head
from classifiers.evaluation.evaluate import wilson_interval
from extractor import DataFolder, Embedder
from extractor.errors import NotFound
from extractor.settings import DEFAULT_BACKBONE
from extractor.sources import find

MUST_REACH = 0.88
_SKIMAGE = Path(skimage.__file__).parent / "data"
_SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
KNOWN = {
    _SKIMAGE / "chelsea.png": {"tabby", "tiger cat", "Egyptian cat"},
    _SKIMAGE / "coffee.png": {"espresso", "cup", "coffee mug"},
    _SKIMAGE / "rocket.jpg": {"missile", "projectile"},
    _SKIMAGE / "motorcycle_left.png": {"moped", "motor scooter"},
    _SKIMAGE / "camera.png": {"tripod"},
    _SKLEARN / "china.jpg": {"palace"},
}
"""Pictures, and the classes of ImageNet that name what is in them."""


def best(head: Head, embedder: Embedder, files: Iterable[str | Path]) -> Iterator[Answer]:
    """The most probable class of each picture."""
    for found in head.classify(embedder, files, top=1):
        assert isinstance(found, Classification), found
        yield found.answers[0]


def known(head: Head, embedder: Embedder) -> None:
    for (file, classes), answer in zip(KNOWN.items(), best(head, embedder, KNOWN), strict=True):
        verdict = "right" if answer.label in classes else "WRONG"
        print(f"{file.name:20} {answer.label:16} {verdict}")


def labelled(folder: str) -> Iterator[tuple[str, str]]:
    """Image files and their WordNet ids."""
    for file in find([folder]):
        named = re.match(r"n\d{8}", Path(file).name) or re.match(r"n\d{8}", Path(file).parent.name)
        if named:
            yield file, named[0]


def sample(head: Head, embedder: Embedder, folder: str) -> None:
    files = list(labelled(folder))
    if not files:
        raise NotFound(f"no photo below {folder} is named by a WordNet id such as n01440764")
    answers = best(head, embedder, (file for file, _ in files))
    right = sum(answer.synset == synset for answer, (_, synset) in zip(answers, files, strict=True))
    low, high = wilson_interval(right, len(files))
    top1 = right / len(files)
    print(
        f"top-1 {top1:.2%} of {len(files)} photos (95 % interval {low:.2%} to {high:.2%}), "
        f"{top1 / MUST_REACH:.3f} of what it must reach"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=lambda path: DataFolder(Path(path)), default=DataFolder.default())
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--photos", help="a folder of photos named by WordNet id")
    options = parser.parse_args()
    print(describe())
    head = load_head("imagenet", options.data, backbone=options.backbone)
    with Embedder(options.backbone, data=options.data) as embedder:
        print(f"{embedder.bundle.manifest.backbone} on {embedder.numerics}")
        known(head, embedder)
        if options.photos:
            sample(head, embedder, options.photos)


if __name__ == "__main__":
    main()
