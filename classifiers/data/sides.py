"""Which rows a head is fitted on and which it is tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifiers.data.dataset import check_known, check_test, lone_classes
from classifiers.data.duplicates import groups_of
from classifiers.data.features import Features
from classifiers.data.labels import check_not_ids
from classifiers.data.parts import TRAIN
from classifiers.data.splits import split
from extractor.errors import FingerprintMismatch, InvalidArgument


class Sides(NamedTuple):
    """The two sides of a split.

    Attributes
    ----------
    known, unseen : Features
        To fit on, and to test on.
    refit : Features or None
        What the head that is saved is fitted on: every row. None when the
        user has chosen what to test on; that stays unseen.
    aside : Features or None
        The rows of `refit` alone: too near to a test image to be tested with.
    """

    known: Features
    unseen: Features
    refit: Features | None
    aside: Features | None = None


def sides(features: Features, test: Features | None, test_size: float, seed: int) -> Sides:
    """Draw the sides; where rows of `features` say on which they are, take these.

    A class of which there is one distinct picture or group only is left out.

    Parameters
    ----------
    features : Features
    test : Features, optional
        Chosen by the user to test on.
    test_size : float
    seed : int

    Raises
    ------
    InvalidArgument
        When there is one class only, or nearly as many as images, or the test
        images have a class of their own, or leave none to fit on.
    FingerprintMismatch
        When `features` and `test` were made by two backbones.
    """
    if test is not None:
        return _given(features, test)
    features = _usable(features)
    if features.parts.any():
        train, unseen = features.parted()
        assert unseen is not None
        return _fitted_on_all(_given(train, unseen), features, features.beside(unseen))
    train_rows, test_rows = split(features.y, features.groups, test_size, seed)
    return Sides(features.take(train_rows), features.take(test_rows), features)


def _given(features: Features, test: Features) -> Sides:
    if test.fingerprint != features.fingerprint:
        raise FingerprintMismatch("the test set", features.fingerprint, test.fingerprint)
    check_known(test.members()[0], sorted(set(features.members()[0])))
    check_test(features.texts, features.digests.tolist(), features.texts, test.digests.tolist())
    known = _usable(features.without(test))
    names = known.classes or tuple(np.unique(known.y).tolist())
    if not test.multi_label:
        lost = np.flatnonzero(~np.isin(test.y, names))
        test = test.leave_out(lost, lambda row: f"no image of its class {str(test.y[row])!r} is fitted on")
    if not test.images:
        raise InvalidArgument("no test image has a class that the head is fitted on: give other test images")
    return Sides(known, test, None)


def _fitted_on_all(given: Sides, features: Features, near: NDArray[np.bool_]) -> Sides:
    """After the test all rows of the classes that were tested are fitted on: none is lost for it."""
    classes = given.known.classes or np.unique(given.known.y)
    kept = np.full(len(near), True) if features.multi_label else np.isin(features.y, classes)
    aside = features.take(np.flatnonzero(kept & near & (features.parts == TRAIN)))
    fitted = set(aside.images)
    rejected = [each for each in given.known.rejected if each.image not in fitted]
    known = replace(given.known, rejected=rejected)
    return Sides(known, given.unseen, features.take(np.flatnonzero(kept)), aside)


def _usable(features: Features) -> Features:
    """Without the classes of one picture or group only, which are listed."""
    labels, rows = features.members()
    digests = features.digests[rows].tolist()
    if not features.multi_label:
        check_not_ids(labels, digests)
    lone = lone_classes(labels, digests)
    alone = {label for label, n in groups_of(labels, features.groups[rows].tolist()).items() if n < 2}
    _check_several(features, sorted(alone))
    if len(set(labels)) - len(alone) < 2:
        lone_classes(labels, digests)
        raise InvalidArgument(
            f"all images of the class {min(alone)!r} are of one group, so that none can be held out: add "
            "images of another group, or leave the class out"
        )

    if not alone:
        return features

    def reason(row: int) -> str:
        what = "usable image" if str(features.y[row]) in lone else "group of images"
        return f"its class {str(features.y[row])!r} has only one {what}: none could be held out"

    return (
        features.leave_out(np.flatnonzero(np.isin(features.y, sorted(alone))), reason) if alone else features
    )


def _check_several(features: Features, alone: list[str]) -> None:
    """Where images may have several labels, none of these can be left out for one of its labels."""
    if not features.multi_label:
        return
    if alone:
        raise InvalidArgument(
            f"the label {alone[0]!r} is on one distinct image or group only, too few to fit on one and "
            "test on another: add images of it, or leave the label out"
        )
    absent = [label for label, column in zip(features.classes, features.y.T, strict=True) if column.all()]
    if absent:
        raise InvalidArgument(f"every image has the label {absent[0]!r}: there is nothing to tell it from")
