"""A head: a fitted model over embeddings, bound to the backbone that made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.layers import Linear, Model, Plain
from extractor.errors import FingerprintMismatch, PenultimateError
from extractor.results import Embeds, ImageLike

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle

IMAGENET = "imagenet"
"""The head that every backbone brings with it; no other can have this name."""


@dataclass(frozen=True, slots=True)
class HeadManifest:
    """What a head says about itself.

    Attributes
    ----------
    name, kind : str
        `kind` is one of `classifiers.kinds.KINDS`, or "imagenet".
    classes : list of str
        In the order of the probabilities.
    fingerprint, backbone : str
        The backbone whose embeddings it takes, and its name.
    dim : int
        Their width.
    metrics : dict
        See `Metrics`; empty when it was never tested.
    fitting : dict
        What it was fitted and tested on, the penalty, whether it converged.
    versions : dict of str
        Of the libraries that fitted it.
    created : str
        ISO 8601, UTC.
    synsets : list of str
        WordNet ids of the classes, of an ImageNet head only.
    """

    name: str
    kind: str
    classes: list[str]
    fingerprint: str
    backbone: str
    dim: int
    metrics: dict[str, Any] = field(default_factory=dict)
    fitting: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: _versions())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    synsets: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A class that a head gives an image, and how probable it is."""

    label: str
    probability: float
    index: int
    synset: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier over embeddings.

    Attributes
    ----------
    manifest : HeadManifest
    model : Model
        From embeddings to probabilities.

    Examples
    --------
    ::

        with Embedder() as source:
            head = load_head("cells")
            for answers in head.classify(source, ["a.png", "b.png"]):
                print(answers[0].label)
    """

    manifest: HeadManifest
    model: Model

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each row of `X`, of shape (n, dim)."""
        labels: NDArray[Any] = np.asarray(self.manifest.classes)[self.predict_proba(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class for each row of `X`: shape (n, len(classes))."""
        return self.model.probabilities(X)

    def check(self, source: Embeds) -> None:
        """Refuse a source of embeddings that this head was not fitted on.

        Raises
        ------
        FingerprintMismatch
        """
        if source.fingerprint != self.manifest.fingerprint:
            raise FingerprintMismatch(
                f"the head {self.manifest.name!r}",
                expected=source.fingerprint,
                found=self.manifest.fingerprint,
                advice=f"Use the backbone {self.manifest.backbone!r} as it was then, or fit the head again",
            )

    def classify(
        self, source: Embeds, images: Iterable[ImageLike], top: int = 5
    ) -> Iterator[list[Answer] | PenultimateError]:
        """For each image, in order, its `top` most probable classes, or why there is none.

        Parameters
        ----------
        source : Embeds
            An `Embedder` or a `Client`.
        images : iterable of bytes, path or PIL image
            Read lazily.
        top : int

        Raises
        ------
        FingerprintMismatch
            When `source` has another backbone than the head.
        """
        self.check(source)
        return self._answers(source, images, top)

    def _answers(
        self, source: Embeds, images: Iterable[ImageLike], top: int
    ) -> Iterator[list[Answer] | PenultimateError]:
        for result in source.stream(images):
            if result.embedding is None:
                yield result.error or PenultimateError("no embedding and no reason was given")
            else:
                yield self._best(self.predict_proba(result.embedding[None])[0], top)

    def _best(self, probabilities: NDArray[np.float64], top: int) -> list[Answer]:
        order = np.argsort(-probabilities, kind="stable")[:top].tolist()
        synsets = self.manifest.synsets
        return [
            Answer(self.manifest.classes[i], float(probabilities[i]), i, synsets[i] if synsets else None)
            for i in order
        ]


def imagenet_head(bundle: Bundle) -> Head:
    """The backbone's own classifier: probabilities are softmax(embedding @ weights.T + bias)."""
    layer = bundle.classifier()
    manifest = HeadManifest(
        name=IMAGENET,
        kind=IMAGENET,
        classes=layer.classes,
        fingerprint=bundle.fingerprint,
        backbone=bundle.manifest.backbone,
        dim=bundle.manifest.dim,
        synsets=layer.synsets,
    )
    return Head(manifest, Model(Plain(), Linear(layer.weights, layer.bias)))


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("penultimate", "scikit-learn", "numpy")}
