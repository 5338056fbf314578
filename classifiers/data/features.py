"""From labelled images to a labelled matrix, every unusable image named."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifiers.data.dataset import Dataset, Rejected
from classifiers.data.labels import joined, parted
from classifiers.data.parts import TEST, TRAIN
from classifiers.data.splits import Rows
from extractor.errors import FingerprintMismatch, InvalidArgument
from extractor.results import Embeds, Result, Vector

Progress: TypeAlias = "Callable[[Iterable[Result]], Iterable[Result]]"
Texts: TypeAlias = NDArray[np.str_]


_GROUP = "!"
"""Before the name of a group that the user has given: comes before all digests by the alphabet."""


def _unsaid() -> NDArray[Any]:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Features:
    """The embeddings of labelled images.

    Attributes
    ----------
    X : float32 array of shape (n, dim)
    y : str array of shape (n,), or bool of shape (n, classes)
        Labels; or which of the `classes` each row has, where it may have several.
    digests : str array of shape (n,)
        In hex. Rows of one digest are copies of one picture.
    images : list of str
        Where each row comes from.
    fingerprint : str
        The backbone that made `X`.
    rejected : list of Rejected
        Images that are not in `X`.
    classes : tuple of str
        Of a `y` of two dimensions, in order; else empty.
    groups : str array of shape (n,)
        Rows of one group are never parted: the copies of one picture, unless
        it is said otherwise.
    weights : float64 array of shape (n,)
        What each row counts for: 1, unless it is said otherwise.
    parts : str array of shape (n,)
        "train" or "test" where the source says so, else "".
    alike : float or None
        From which cosine on two pictures are in one group; None when only
        copies are, or what the source has grouped.
    augment : tuple of str
        Which augmented views of the pictures are fitted on, too, see
        `classifiers.data.augmentation`.
    views : float32 array of shape (n, views, dim)
        Their embeddings; NaN in a row that has none.
    """

    X: Vector
    y: NDArray[Any]
    digests: Texts
    images: list[str]
    fingerprint: str
    rejected: list[Rejected]
    classes: tuple[str, ...] = ()
    groups: Texts = field(default_factory=_unsaid)
    weights: NDArray[np.float64] = field(default_factory=_unsaid)
    parts: Texts = field(default_factory=_unsaid)
    alike: float | None = None
    augment: tuple[str, ...] = ()
    views: Vector = field(default_factory=_unsaid)

    def __post_init__(self) -> None:
        n = len(self.images)
        defaults = {
            "groups": self.digests,
            "weights": np.ones(n),
            "parts": np.full(n, "", "<U5"),
            "views": np.empty((n, 0, self.X.shape[1]), np.float32),
        }
        for name, values in defaults.items():
            if not len(getattr(self, name)):
                object.__setattr__(self, name, values)

    @property
    def copies(self) -> int:
        """How many rows repeat the picture of an earlier row."""
        return len(self.digests) - len(np.unique(self.digests))

    @property
    def unviewed(self) -> int:
        """How many rows have none of the views that were asked for."""
        return int(np.isnan(self.views[:, :1, 0]).sum())

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels."""
        return self.y.ndim == 2

    @property
    def texts(self) -> list[str]:
        """The label of each row; of several, all in one text, see `classifiers.data.labels.joined`."""
        if not self.multi_label:
            return [str(label) for label in self.y.tolist()]
        return [joined(self.classes[place] for place in np.flatnonzero(row)) for row in self.y]

    def members(self) -> tuple[list[str], Rows]:
        """Each label with each row that has it: the labels, and the rows."""
        if not self.multi_label:
            return self.texts, np.arange(len(self.y))
        rows, places = np.nonzero(self.y)
        return [self.classes[place] for place in places.tolist()], rows

    def take(self, rows: Rows, rejected: Iterable[Rejected] = ()) -> Features:
        """The same with these rows only, and more that was rejected."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            digests=self.digests[rows],
            images=[self.images[row] for row in rows],
            rejected=[*self.rejected, *rejected],
            groups=self.groups[rows],
            weights=self.weights[rows],
            parts=self.parts[rows],
            views=self.views[rows],
        )

    def leave_out(self, rows: Rows, reason: Callable[[int], str]) -> Features:
        """The same without these rows, which are listed with their reasons."""
        kept = np.setdiff1d(np.arange(len(self.images)), rows)
        listed = [Rejected(self.images[row], reason(row)) for row in rows.tolist()]
        return self.take(kept, listed) if len(rows) else self

    def beside(self, others: Features) -> NDArray[np.bool_]:
        """Which rows are copies of one of `others`, or of its group."""
        return np.isin(self.digests, others.digests) | np.isin(self.groups, others.groups)

    def without(self, others: Features) -> Features:
        """Leave out every picture that `others` has too, so that no test picture is trained on."""
        same = np.isin(self.digests, others.digests)
        mates = defaultdict(list)
        for row, group in enumerate(others.groups.tolist()):
            mates[group].append(row)

        def reason(row: int) -> str:
            if same[row]:
                return "the same picture is among the test images"
            return self._joint(row, others.take(np.array(mates[str(self.groups[row])])))

        return self.leave_out(np.flatnonzero(self.beside(others)), reason)

    def _joint(self, row: int, mates: Features) -> str:
        """What joins a row and the nearest of these, which are of its group."""
        lengths = np.linalg.norm(mates.X, axis=1) * np.linalg.norm(self.X[row])
        cosines = mates.X @ self.X[row] / np.where(lengths > 0, lengths, 1)
        nearest = int(cosines.argmax())
        cosine, image = float(cosines[nearest]), mates.images[nearest]
        if self.alike is not None and cosine >= self.alike:
            return f"nearly the same picture is among the test images: {image} (cosine {cosine:.3f})"
        return f"it is of one group with the test image {image}"

    def tested_on(self, test: Features) -> Features:
        """These rows to train on and all rows of `test` to test on, as one.

        Raises
        ------
        InvalidArgument
            When these rows have a test part already.
        FingerprintMismatch
            When two backbones made them.
        """
        if self.parts.any():
            raise InvalidArgument(
                "the images to fit on have a test part of their own, so --test cannot be given"
            )
        if test.fingerprint != self.fingerprint:
            raise FingerprintMismatch("the test set", self.fingerprint, test.fingerprint)
        parts = np.repeat([TRAIN, TEST], [len(self.images), len(test.images)])
        y, classes = _stacked(self, test)
        return agreeing(
            Features(
                np.concatenate([self.X, test.X]),
                y,
                np.concatenate([self.digests, test.digests]),
                self.images + test.images,
                self.fingerprint,
                self.rejected + test.rejected,
                classes,
                np.concatenate([self.groups, test.groups]),
                np.concatenate([self.weights, test.weights]),
                parts,
                augment=self.augment,
                views=self.views_beside(test),
            )
        )

    def views_beside(self, others: Features) -> Vector:
        """The views of these rows and of `others`; NaN where those have not the same."""
        none = np.full((len(others.images), *self.views.shape[1:]), np.nan, np.float32)
        return np.concatenate([self.views, others.views if others.augment == self.augment else none])

    def parted(self) -> tuple[Features, Features | None]:
        """The rows to train on, and those to test on where the source says which they are."""
        if not self.parts.any():
            return self, None
        train, test = (self.take(np.flatnonzero(self.parts == part)) for part in (TRAIN, TEST))
        return train, replace(test, rejected=[])


def gathered(dataset: Dataset, X: Vector, digests: Sequence[str], fingerprint: str) -> Features:
    """Rows, their labels, and what their source says of them; those that contradict each other are left out.

    Parameters
    ----------
    dataset : Dataset
        Its rows are those of `X`.
    X : float32 array of shape (n, dim)
    digests : sequence of str
    fingerprint : str

    Raises
    ------
    InvalidArgument
        When no row is left.
    """
    y, classes = _targets(dataset)
    features = Features(
        X,
        y,
        np.array(digests, dtype="<U64"),
        dataset.images,
        fingerprint,
        list(dataset.rejected),
        classes,
        weights=np.array(dataset.weights, np.float64),
        parts=np.array(dataset.parts, "<U5"),
    )
    if dataset.groups:
        features = replace(features, groups=_given_groups(dataset.groups, features.digests))
    features = agreeing(features)
    if not features.images and not features.rejected:
        raise InvalidArgument("there is no row to fit on")
    if not features.images:
        first = features.rejected[0]
        raise InvalidArgument(f"no image can be used; the first: {first.image}: {first.reason}")
    return features


def embed(
    source: Embeds, dataset: Dataset, progress: Progress = iter, *, augment: Sequence[str] = ()
) -> Features:
    """Embed the images of `dataset`; those that fail or contradict each other are left out.

    Parameters
    ----------
    source : Embeds
        An `Embedder` or a `Client`.
    dataset : Dataset
    progress : callable
        Wraps the results as they come, as `tqdm` does.
    augment : sequence of str
        Which augmented views of the images are embedded, too; see
        `classifiers.data.augmentation.AUGMENTATIONS`.

    Raises
    ------
    InvalidArgument
        When no image is left, or there is no such augmentation.
    """
    from classifiers.data.augmentation import views_of, with_views

    views_of(augment)
    X = np.empty((len(dataset.images), source.dim), dtype=np.float32)
    digests: list[str] = []
    good: list[int] = []
    rejected = list(dataset.rejected)
    for row, result in enumerate(progress(source.stream(dataset.images))):
        if result.embedding is None:
            rejected.append(Rejected(dataset.images[row], str(result.error)))
            continue
        X[len(good)] = result.embedding
        digests.append((result.digest or b"").hex() or dataset.images[row])
        good.append(row)
    used = replace(dataset.take(good), rejected=rejected)
    features = gathered(used, X[: len(good)], digests, source.fingerprint)
    return with_views(source, features, augment, progress)


def agreeing(features: Features) -> Features:
    """Leave out every picture that stands there under more than one label."""
    labels = defaultdict(set)
    texts = features.texts
    for digest, label in zip(features.digests.tolist(), texts, strict=True):
        labels[digest].add(label)
    torn = np.array([len(labels[digest]) > 1 for digest in features.digests.tolist()], dtype=bool)

    def reason(row: int) -> str:
        return "the same picture has the labels " + ", ".join(sorted(labels[str(features.digests[row])]))

    return features.leave_out(np.flatnonzero(torn), reason)


def _targets(dataset: Dataset) -> tuple[NDArray[Any], tuple[str, ...]]:
    if not dataset.multi_label:
        return np.array(dataset.labels, dtype=np.str_), ()
    classes = tuple(dataset.counts())
    return _matrix(map(parted, dataset.labels), classes, len(dataset.labels)), classes


def _matrix(labels: Iterable[Iterable[str]], classes: Sequence[str], n: int) -> NDArray[np.bool_]:
    place = {label: at for at, label in enumerate(classes)}
    found = np.zeros((n, len(classes)), dtype=bool)
    for row, several in enumerate(labels):
        found[row, [place[label] for label in several]] = True
    return found


def _stacked(one: Features, other: Features) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The labels of both, of several over the classes of both."""
    if not one.multi_label:
        return np.concatenate([one.y, other.y]), ()
    classes = tuple(sorted({*one.classes, *other.classes}))
    texts = one.texts + other.texts
    return _matrix(map(parted, texts), classes, len(texts)), classes


def _given_groups(groups: Sequence[str], digests: Texts) -> Texts:
    """What joins the rows of one group and the copies of one picture.

    It is named after the group, so that another source's rows of that group are
    of the same, or as `grouped` does.
    """
    from classifiers.data.duplicates import names_of
    from extractor.exploring.linking import Sets, equals

    marks = [f"{_GROUP}{hashlib.sha256(text.encode()).hexdigest()[1:]}" if text else "" for text in groups]
    given = np.array(marks, digests.dtype)
    named = np.where(given != "", given, digests)
    sets = Sets(len(groups))
    sets.join(*equals(named))
    sets.join(*equals(digests))
    return names_of(sets.every_root(), named)
