"""From labelled images to a labelled matrix, every unusable image named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifiers.dataset import Dataset, Rejected
from classifiers.splits import Rows
from extractor.errors import InvalidArgument
from extractor.results import Embeds, Result, Vector

Progress: TypeAlias = "Callable[[Iterable[Result]], Iterable[Result]]"


@dataclass(frozen=True, slots=True)
class Features:
    """The embeddings of labelled images.

    Attributes
    ----------
    X : float32 array of shape (n, dim)
    y : str array of shape (n,)
    digests : str array of shape (n,)
        In hex. Rows of one digest are copies of one picture.
    images : list of str
        Where each row comes from.
    fingerprint : str
        The backbone that made `X`.
    rejected : list of Rejected
        Images that are not in `X`.
    """

    X: Vector
    y: NDArray[np.str_]
    digests: NDArray[np.str_]
    images: list[str]
    fingerprint: str
    rejected: list[Rejected]

    @property
    def copies(self) -> int:
        """How many rows repeat the picture of an earlier row."""
        return len(self.digests) - len(np.unique(self.digests))

    def take(self, rows: Rows, rejected: Iterable[Rejected] = ()) -> Features:
        """The same with these rows only, and more that was rejected."""
        images = [self.images[row] for row in rows]
        left_out = [*self.rejected, *rejected]
        return Features(self.X[rows], self.y[rows], self.digests[rows], images, self.fingerprint, left_out)

    def without(self, others: Features) -> Features:
        """Leave out every picture that `others` has too, so that no test picture is trained on."""
        shared = np.isin(self.digests, others.digests)
        reasons = [
            Rejected(self.images[row], "the same picture is among the test images")
            for row in np.flatnonzero(shared)
        ]
        return self.take(np.flatnonzero(~shared), reasons)


def embed(source: Embeds, dataset: Dataset, progress: Progress = iter) -> Features:
    """Embed the images of `dataset`; those that fail or contradict each other are left out.

    Parameters
    ----------
    source : Embeds
        An `Embedder` or a `Client`.
    dataset : Dataset
    progress : callable
        Wraps the results as they come, as `tqdm` does.

    Raises
    ------
    InvalidArgument
        When no image is left.
    """
    X = np.empty((len(dataset.images), source.dim), dtype=np.float32)
    digests = np.empty(len(dataset.images), dtype="<U64")
    rejected = list(dataset.rejected)
    good = []
    for row, result in enumerate(progress(source.stream(dataset.images))):
        if result.embedding is None:
            rejected.append(Rejected(dataset.images[row], str(result.error)))
            continue
        X[row] = result.embedding
        digests[row] = (result.digest or b"").hex() or dataset.images[row]
        good.append(row)
    features = Features(X, np.array(dataset.labels), digests, dataset.images, source.fingerprint, rejected)
    features = _agreeing(features.take(np.array(good, dtype=np.intp)))
    if not features.images:
        first = features.rejected[0]
        raise InvalidArgument(f"no image can be used; the first: {first.image}: {first.reason}")
    return features


def _agreeing(features: Features) -> Features:
    """Leave out every picture that stands there under more than one label."""
    labels = defaultdict(set)
    for digest, label in zip(features.digests, features.y, strict=True):
        labels[digest].add(str(label))
    clear = np.array([len(labels[digest]) == 1 for digest in features.digests], dtype=bool)
    reasons = [
        Rejected(
            features.images[row],
            "the same picture has the labels " + ", ".join(sorted(labels[features.digests[row]])),
        )
        for row in np.flatnonzero(~clear)
    ]
    return features.take(np.flatnonzero(clear), reasons)
