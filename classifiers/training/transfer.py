"""A head fitted again on another backbone, from the labels that were kept and the images still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from classifiers.data.dataset import Dataset, Rejected
from classifiers.data.duplicates import grouped
from classifiers.data.features import Features
from classifiers.store.bundle import read_facts
from classifiers.store.publishing import Published, publish
from classifiers.store.records import TEST, Rows, at_hand, unchanged
from classifiers.store.versions import folder_of
from classifiers.training.recipes import Recipe
from classifiers.training.train import Training, train
from extractor.errors import InvalidArgument, NotFound
from extractor.results import Embeds
from extractor.settings import DataFolder
from extractor.vector_files import is_file_name

if TYPE_CHECKING:
    from classifiers.report import Report

Embedded: TypeAlias = "Callable[..., Features]"


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """A head on another backbone, and the images that it could not be fitted on.

    Attributes
    ----------
    training : Training
    published : Published
    gone : list of Rejected
        Images that are not there any more, are others now, cannot be read, or are nearly the same
        as one that the user has chosen to test on.
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
    report: Callable[[Training], Report] | None = None,
) -> Transfer:
    """Fit a version of `name` again on the embeddings of another backbone.

    The rows that were held out are held out again, and after the test fitted on, too, where
    they were before; an image counts as still there when its digest is the one that was labelled.

    Parameters
    ----------
    name : str
    embeds : Embeds
    backbone : str
        Its name.
    data : DataFolder
    embedded : callable
        Embeds a data set, with the views that `augment` names; see `classifiers.data.features.embed`.
    promote : bool
        Let the new version answer from now on.
    version : int, optional
        By default the one that answers.
    report : callable, optional
        Makes the report that is saved beside the head.

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
    features, gone = _features(name, facts, rows, partial(embedded, embeds))
    sides, recipe = _sides(features, facts["fitting"]), _recipe(facts["fitting"])
    training = train(name, *sides, backbone=backbone, recipe=recipe)
    files = report(training).files() if report else None
    published = publish(training, data, promote=promote, files=files)
    return Transfer(training, published, list(dict.fromkeys([*gone, *training.rejected])), facts["metrics"])


def _features(
    name: str, facts: dict[str, Any], rows: Rows, embedded: Callable[..., Features]
) -> tuple[Features, list[Rejected]]:
    """The images that are still what was labelled, each on the side where it was, and the others."""
    present, missing = at_hand(rows)
    if not present:
        raise NotFound(_nothing_there(name, facts["backbone"], len(rows.paths)))
    paths, labels, splits = (
        [column[at] for at in present] for column in (rows.paths, rows.labels, rows.splits)
    )
    chosen = Dataset(paths, labels, parts=splits, multi_label=facts["model"]["multi_label"])
    found = embedded(chosen, augment=facts["fitting"].get("augment", ()))
    features, changed = unchanged(rows, found)
    if facts["fitting"]["alike"] is not None:
        features = grouped(features)  # a cosine of one backbone means nothing to another
    return features, [*missing, *found.rejected, *changed]


def _nothing_there(name: str, backbone: str, count: int) -> str:
    if is_file_name(backbone):
        return (
            f"the head {name!r} was fitted on the vectors of {backbone}, and another backbone takes images: "
            "fit one on these"
        )
    return f"none of the {count} images of the head {name!r} is there any more"


def _sides(features: Features, fitting: dict[str, Any]) -> tuple[Features, Features | None]:
    """What `train` is given: rows that say on which side they are, or, where nobody held any out, do not.

    A test part that the user had chosen stays unseen, as it was.
    """
    if not (features.parts == TEST).any():
        return replace(features, parts=np.full(len(features.images), "", "<U5")), None
    return (features, None) if fitting["refitted_on_all"] else features.parted()


def _recipe(fitting: dict[str, Any]) -> Recipe:
    """As it was asked for: what cross-validation chose is chosen again."""
    scale = cast(Literal["standardise", "normalise"], fitting["scale"])
    return Recipe(fitting["kind"], scale, fitting["seed"], fitting["class_weight"])
