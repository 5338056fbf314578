"""A head: a fitted model over embeddings, bound to the backbone that made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.alone import Alone
from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.layers import Linear, Model, Plain
from classifiers.layers.arrays import checked_rows
from extractor.errors import FingerprintMismatch, InvalidArgument, PenultimateError
from extractor.results import Embeds, ImageLike, Vector

if TYPE_CHECKING:
    from extractor.backbones.bundle import Bundle

IMAGENET = "imagenet"
"""The head that every backbone brings with it; no other can have this name."""

UNKNOWN = "unknown"
"""What an image of none of the classes is called."""


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
    thresholds : list of float
        By class, the probability from which an image has the label, where it
        may have several; empty for 0.5.
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
    thresholds: list[float] = field(default_factory=list)
    synsets: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A class that a head gives an image, and how probable it is."""

    label: str
    probability: float
    index: int
    synset: str | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """What a head says of an image.

    Attributes
    ----------
    answers : list of Answer
        The most probable classes, best first; also those of an unknown image,
        though it is probably none of them.
    labels : list of str
        What the image is: one class, or as many as it has where it may have
        several; empty when it is unknown.
    unknown : bool
        Whether it is further from all that the head was fitted on than its
        threshold allows.
    score : float or None
        That distance, about 1 for what it was fitted on and more for new images; None when the head
        cannot tell.
    """

    answers: list[Answer]
    labels: list[str]
    unknown: bool = False
    score: float | None = None

    @property
    def label(self) -> str:
        """The most probable class, or "unknown"."""
        return UNKNOWN if self.unknown else self.answers[0].label


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier over embeddings.

    Attributes
    ----------
    manifest : HeadManifest
    model : Model
        From embeddings to probabilities.
    statistics : Statistics or None
        Of what it was fitted on.
    rejection : Rejection or None
        Says which images are none of the classes.

    Examples
    --------
    ::

        with Embedder() as source:
            head = load_head("cells")
            for found in head.classify(source, ["a.png", "b.png"]):
                print(found.label, found.score)
    """

    manifest: HeadManifest
    model: Model
    statistics: Statistics | None = None
    rejection: Rejection | None = None
    _alone: Alone | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.rejection:
            object.__setattr__(self, "_alone", Alone.of(self.model, self.rejection.gaussian))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each row of `X`; as `predict_proba`."""
        labels: NDArray[Any] = np.asarray(self.manifest.classes)[self.predict_proba(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class for each row of `X`: shape (n, len(classes)).

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Embeddings of the backbone that the head was fitted on.

        Raises
        ------
        InvalidArgument
            When they are of another width, or have values that are not finite.
        """
        return self.model.probabilities(checked_rows(X, self.manifest.dim))

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
        self, source: Embeds, images: Iterable[ImageLike], top: int = 5, *, reject: bool = True
    ) -> Iterator[Classification | PenultimateError]:
        """For each image, in order, what it is, or why that cannot be said.

        Parameters
        ----------
        source : Embeds
            An `Embedder` or a `Client`.
        images : iterable of bytes, path or PIL image
            Read lazily.
        top : int
            How many classes.
        reject : bool
            Say of an image that is none of the classes that it is unknown.

        Raises
        ------
        FingerprintMismatch
            When `source` has another backbone than the head.
        """
        self.check(source)
        return self._stream(source, images, top, reject)

    def judge(self, X: Vector, top: int = 5, *, reject: bool = True) -> list[Classification]:
        """What each row of `X`, embeddings of shape (n, dim), is; parameters as in `classify`.

        Raises
        ------
        InvalidArgument
            As `predict_proba`.
        """
        rejection = self.rejection if reject else None
        alone = self._alone(X[0]) if self._alone and np.shape(X) == (1, self.manifest.dim) else None
        if alone:
            return [self._classification(alone[0], top, alone[1] if rejection else None)]
        X = checked_rows(X, self.manifest.dim)
        scores = rejection.distances(X).tolist() if rejection else [None] * len(X)
        return [
            self._classification(row, top, score)
            for row, score in zip(self.model.probabilities(X).tolist(), scores, strict=True)
        ]

    def _stream(
        self, source: Embeds, images: Iterable[ImageLike], top: int, reject: bool
    ) -> Iterator[Classification | PenultimateError]:
        for result in source.stream(images):
            if result.embedding is None:
                yield result.error or PenultimateError("no embedding and no reason was given")
                continue
            try:
                yield self.judge(result.embedding[None], top, reject=reject)[0]
            except InvalidArgument as error:
                yield error

    def _classification(self, probabilities: list[float], top: int, score: float | None) -> Classification:
        """In plain Python: for a single image, NumPy takes longer to begin than this does."""
        best = sorted(range(len(probabilities)), key=probabilities.__getitem__, reverse=True)
        answers = [self._answer(at, probabilities[at]) for at in best[:top]]
        unknown = score is not None and self.rejection is not None and score > self.rejection.threshold
        return Classification(
            answers, [] if unknown else self._labels(probabilities, best[0]), unknown, score
        )

    def _answer(self, at: int, probability: float) -> Answer:
        synsets = self.manifest.synsets
        return Answer(self.manifest.classes[at], probability, at, synsets[at] if synsets else None)

    def _labels(self, probabilities: list[float], best: int) -> list[str]:
        classes = self.manifest.classes
        if not self.model.multi_label:
            return [classes[best]]
        thresholds = self.manifest.thresholds or [0.5] * len(classes)
        judged = zip(classes, probabilities, thresholds, strict=True)
        return [label for label, probability, threshold in judged if probability >= threshold]


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
