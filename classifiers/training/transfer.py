"""A head fitted again on another backbone, from the labels that were kept and the images still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from classifiers.data.dataset import Dataset, Rejected
from classifiers.data.features import Features
from classifiers.data.labels import BETWEEN
from classifiers.store.bundle import read_facts
from classifiers.store.publishing import Published, publish
from classifiers.store.records import TEST, TRAIN, Rows, at_hand, unchanged
from classifiers.store.versions import folder_of
from classifiers.training.recipes import Recipe
from classifiers.training.train import Training, train
from extractor.errors import InvalidArgument, NotFound
from extractor.results import Embeds
from extractor.settings import DataFolder

Embedded: TypeAlias = "Callable[[Embeds, Dataset], Features]"


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """A head on another backbone, and the images that it could not be fitted on.

    Attributes
    ----------
    training : Training
    published : Published
    gone : list of Rejected
        Images that are not there any more, are others now, or cannot be read.
    before : dict
        The figures of the version that it came from.
    """

    training: Training
    published: Published
    gone: list[Rejected]
    before: dict[str, Any]


def transfer(
    name: str,
    embeds: Embeds,
    backbone: str,
    data: DataFolder,
    *,
    embedded: Embedded,
    promote: bool = False,
    version: int | None = None,
) -> Transfer:
    """Fit a version of `name` again on the embeddings of another backbone.

    The rows that were held out are held out again; an image counts as still
    there when its digest is the one that was labelled.

    Parameters
    ----------
    name : str
    embeds : Embeds
    backbone : str
        Its name.
    data : DataFolder
    embedded : callable
        Embeds a data set.
    promote : bool
        Let the new version answer from now on.
    version : int, optional
        By default the one that answers.

    Raises
    ------
    NotFound
        When there is no such head, it has no rows, or none of its images is left.
    InvalidArgument
        When it is of this backbone already, or what is left cannot be fitted and tested on.
    """
    folder = folder_of(name, data, version)
    facts, rows = read_facts(folder), Rows.read(folder)
    if facts["fingerprint"] == embeds.fingerprint:
        raise InvalidArgument(f"the head {name!r} is one of the backbone {backbone} already: nothing to do")
    if any(BETWEEN in label and label not in facts["classes"] for label in rows.labels):
        raise InvalidArgument(f"the head {name!r} gives several labels an image: fit it with `fit-head`")
    present, missing = at_hand(rows)
    if not present:
        raise NotFound(f"none of the {len(rows.paths)} images of the head {name!r} is there any more")
    chosen = Dataset([rows.paths[at] for at in present], [rows.labels[at] for at in present])
    features = embedded(embeds, chosen)
    known, unseen, changed = _parts(rows, features)
    training = train(name, known, unseen, backbone=backbone, recipe=_recipe(facts["fitting"]))
    published = publish(training, data, promote=promote)
    return Transfer(training, published, [*missing, *features.rejected, *changed], facts["metrics"])


def _parts(rows: Rows, features: Features) -> tuple[Features, Features | None, list[Rejected]]:
    """The rows to fit on and those that were held out, as before; None when none was."""
    features, changed = unchanged(rows, features)
    split = dict(zip(rows.paths, rows.splits, strict=True))
    sides = np.array([split[image] for image in features.images])
    held = np.flatnonzero(sides == TEST)
    if not len(held):
        return features, None, changed
    return features.take(np.flatnonzero(sides == TRAIN)), features.take(held), changed


def _recipe(fitting: dict[str, Any]) -> Recipe:
    """As it was asked for: what cross-validation chose is chosen again."""
    scale = cast(Literal["standardise", "normalise"], fitting["scale"])
    return Recipe(fitting["kind"], scale, fitting["seed"], fitting["class_weight"])
