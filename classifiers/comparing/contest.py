"""Two versions of a head on the rows that neither was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifiers.data.dataset import Dataset, Rejected
from classifiers.data.features import Features
from classifiers.data.labels import joined
from classifiers.evaluation.paired import Difference, difference
from classifiers.layers import Model
from classifiers.store.bundle import read_facts, read_tested
from classifiers.store.records import Rows, at_hand, unchanged
from classifiers.store.versions import folder_of, load_head, serving_version, versions
from extractor.errors import InvalidArgument, NotFound
from extractor.results import Embeds, Vector
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from classifiers.heads import Head
    from classifiers.training.train import Training

Embedded: TypeAlias = "Callable[[Embeds, Dataset], Features]"


@dataclass(frozen=True, slots=True)
class Contest:
    """How two versions did on the same rows.

    Attributes
    ----------
    version, other : int
    n : int
        Rows that neither was fitted on.
    accuracy, other_accuracy : float
        Shares of right answers; of several labels an image, all of them right.
    gain : Difference
        Of the accuracies, with its 95 % interval.
    """

    version: int
    other: int
    n: int
    accuracy: float
    other_accuracy: float
    gain: Difference

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def line(self) -> str:
        """One line for a person."""
        low, high = self.gain.interval
        return (
            f"version {self.version} against version {self.other}, on {self.n:,} images that neither was "
            f"fitted on: {self.accuracy:.1%} against {self.other_accuracy:.1%}, a difference of "
            f"{100 * self.gain.share:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A version as it was tested: without its test rows.

    Attributes
    ----------
    version : int
    model : Model
    classes : list of str
    thresholds : list of float
        As of `HeadManifest`.
    """

    version: int
    model: Model
    classes: list[str]
    thresholds: list[float]

    @classmethod
    def of(cls, folder: Path) -> Contender:
        """Of a version's folder; errors as of `read_head`."""
        facts = read_facts(folder)
        return cls(int(folder.name), read_tested(folder), facts["classes"], facts["thresholds"])

    def answers(self, X: Vector) -> NDArray[np.str_]:
        """The label of each row; of several all of them in one text, as `joined` has it."""
        said = self.model.probabilities(X)
        if not self.model.multi_label:
            named: NDArray[np.str_] = np.asarray(self.classes)[said.argmax(axis=1)]
            return named
        over = said >= np.asarray(self.thresholds or 0.5)
        return np.array([joined(self.classes[at] for at in np.flatnonzero(row)) for row in over], np.str_)


def contest(one: Contender, other: Contender, X: Vector, truth: Sequence[str]) -> Contest:
    """Let both answer the same rows.

    Of images that may have several labels all have to be right; a class that a
    version does not know it never answers rightly.

    Parameters
    ----------
    one, other : Contender
    X : float32 array of shape (n, dim)
        At least one row.
    truth : sequence of str
        The label of each row; of several all, as `Features.texts` has them.
    """
    ours, theirs = (each.answers(X) == np.asarray(truth) for each in (one, other))
    gain = difference(ours, theirs)
    shares = float(ours.mean()), float(theirs.mean())
    return Contest(one.version, other.version, len(truth), *shares, gain)


def unseen_by(training: Training, rows: Rows) -> NDArray[np.intp]:
    """The held-out rows of a training that a version with these rows was not fitted on either.

    Nor on one of the same group: a copy that was added since is no news to it.
    """
    seen = rows.trained_on()
    near = {
        group
        for side in (training.known, training.unseen)
        for digest, group in zip(side.digests.tolist(), side.groups.tolist(), strict=True)
        if digest in seen
    }
    return np.flatnonzero([group not in near for group in training.unseen.groups.tolist()])


def against_serving(training: Training, data: DataFolder) -> Contest | str | None:
    """A head that was just fitted against the version of its name that answers.

    Returns
    -------
    Contest, str or None
        Why there is none, as a sentence; None for the first version.

    Raises
    ------
    DamagedFile
        When that version is not what was written.
    """
    manifest = training.head.manifest
    if not versions(manifest.name, data):
        return None
    number = serving_version(manifest.name, data)
    folder = folder_of(manifest.name, data, number)
    if load_head(manifest.name, data, version=number).manifest.fingerprint != manifest.fingerprint:
        return f"version {number}, which answers, takes the embeddings of another backbone: not compared"
    try:
        rows = unseen_by(training, Rows.read(folder))
    except NotFound as error:
        return str(error)
    if not len(rows):
        return f"version {number}, which answers, was fitted on every image that was held out: not compared"
    number = max(versions(manifest.name, data)) + 1
    ours = Contender(number, training.tested, manifest.classes, manifest.thresholds)
    unseen = training.unseen.take(rows)
    return contest(ours, Contender.of(folder), unseen.X, unseen.texts)


def between(
    name: str, version: int, other: int, embeds: Embeds, data: DataFolder, embedded: Embedded
) -> tuple[Contest, list[Rejected]]:
    """Two versions on the images that were held out from both and are still there.

    Returns
    -------
    Contest
    list of Rejected
        Images that are gone or are others now.

    Raises
    ------
    NotFound
        When there is no such version, or no such image.
    InvalidArgument
        When they are of different backbones.
    FingerprintMismatch
        When they are of another backbone than `embeds`.
    """
    folders = [folder_of(name, data, number) for number in (version, other)]
    heads = [load_head(name, data, version=number) for number in (version, other)]
    if heads[0].manifest.fingerprint != heads[1].manifest.fingerprint:
        raise InvalidArgument(_of_two_backbones(name, version, other, heads))
    for head in heads:
        head.check(embeds)
    rows = [Rows.read(folder) for folder in folders]
    held = rows[0].held_out(rows[1].trained_on())
    present, missing = at_hand(held)
    paths, labels = ([column[at] for at in present] for column in (held.paths, held.labels))
    several = any(read_facts(folder)["model"]["multi_label"] for folder in folders)
    chosen = Dataset(paths, labels, multi_label=several)
    features, changed = unchanged(held, embedded(embeds, chosen)) if present else (None, [])
    if features is None or not len(features.y):
        raise NotFound(_none_left(name, version, other, heads))
    ours, theirs = map(Contender.of, folders)
    return contest(ours, theirs, features.X, features.texts), [*missing, *changed]


def _none_left(name: str, version: int, other: int, heads: Sequence[Head]) -> str:
    """Why there is no image to compare on: a class that was added leaves none, whatever is there."""
    for number, head in zip((version, other), heads, strict=True):
        if "added" in head.manifest.fitting:
            return (
                f"version {number} of {name!r} has a class that was added, and no held-out images since: fit "
                f"a version on all images, `fit-head SOURCE --name {name}`, and compare that"
            )
    return f"no image that versions {version} and {other} of {name!r} have not seen is there"


def _of_two_backbones(name: str, version: int, other: int, heads: Sequence[Head]) -> str:
    """Why there is no contest, and where to look; the same name may stand for two fingerprints."""
    said = [f"{head.manifest.backbone}, {head.manifest.fingerprint[:12]}…" for head in heads]
    return (
        f"versions {version} and {other} of {name!r} are of different backbones ({said[0]}; {said[1]}), "
        f"and no embedding is for both: `penultimate heads show {name}` has what each answered rightly of "
        "the images that it was tested on"
    )
