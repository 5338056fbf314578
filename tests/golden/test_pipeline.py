"""From a file's bytes to the vector, ours equals the original PyTorch pipeline, on every provider here."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extractor import Embedder
from extractor.backbones import catalogue
from extractor.backbones.bundle import Bundle
from extractor.backbones.providers import installed_providers, wanted
from extractor.settings import DEFAULT_BACKBONE, DataFolder

NUMERICS = [numerics for provider in installed_providers() for numerics in wanted(provider, "auto")]


@pytest.fixture(scope="module")
def original() -> Any:
    """The original network behind its own transform: a PIL image in, vector and logits out."""
    from extractor.backbones.export import networks, weights

    backbone = catalogue.find(DEFAULT_BACKBONE)
    network = networks.original(backbone, weights.checked_weights(backbone))
    return lambda image: networks.reference(network, backbone, image)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("numerics", NUMERICS, ids=str)
def test_vectors_equal_the_original_pipeline(
    numerics: Any, original: Any, photos: list[bytes], exported_data: DataFolder, bundle: Bundle
) -> None:
    """Smallest cosine over the bound of the precision; and each picture gets its own vector."""
    with Embedder(
        data=exported_data, provider=numerics.provider, precision=numerics.precision, cache=None
    ) as embedder:
        results = embedder.embed(photos)
        assert embedder.numerics == str(numerics)
    for photo, result in zip(photos, results, strict=True):
        assert result.embedding is not None, result.error
        expected = original(Image.open(io.BytesIO(photo)))[0]
        assert cosine(result.embedding, expected) >= bundle.manifest.min_cosine[numerics.precision]


@pytest.fixture(scope="module")
def exact(exported_data: DataFolder) -> Iterator[Embedder]:
    with Embedder(data=exported_data, precision="fp32", cache=None) as embedder:
        yield embedder


def test_the_kept_classifier_completes_the_original_network(
    exact: Embedder, original: Any, photos: list[bytes], bundle: Bundle
) -> None:
    """`embedding @ W.T + b` are the logits of the uncut network."""
    classifier = bundle.classifier()
    for photo, result in zip(photos[:8], exact.embed(photos[:8]), strict=True):
        logits = original(Image.open(io.BytesIO(photo)))[1]
        np.testing.assert_allclose(
            result.embedding @ classifier.weights.T + classifier.bias, logits, atol=0.05
        )
