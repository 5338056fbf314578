"""Parting rows into training and held-out ones: stratified, repeatable, duplicates together.

Rows of one group (copies of one picture) always fall on the same side. Which
groups fall where depends on the groups, the labels and the seed alone, not on
the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.data import dealing
from classifiers.data.dealing import NEVER
from extractor.errors import InvalidArgument

FOLDS = 5

Rows = NDArray[np.intp]

__all__ = ["FOLDS", "NEVER", "Rows", "check_test_size", "folds", "repeated", "split"]


def split(labels: ArrayLike, groups: ArrayLike, test_size: float, seed: int) -> tuple[Rows, Rows]:
    """The rows to train on and the rows to hold out, each in ascending order.

    Of each class the share `test_size` of its rows is held out, as nearly as
    its groups allow, but at least one group, and at least one is left to train on.

    Parameters
    ----------
    labels : array-like of shape (n,), or bool of shape (n, classes)
        The rows of a group need not be of one class.
    groups : array-like of shape (n,)
    test_size : float
        Between 0 and 1.
    seed : int

    Raises
    ------
    InvalidArgument
        When `test_size` is not between 0 and 1, or a class has one group only.
    """
    check_test_size(test_size)
    if mixed(labels, groups):
        return dealing.split(labels, groups, test_size, seed)
    group_of_row, classes = _classes(labels, groups)
    sizes = np.bincount(group_of_row)
    held = np.zeros(len(sizes), dtype=bool)
    rng = np.random.default_rng(seed)
    for label, members in classes:
        if len(members) < 2:
            raise InvalidArgument(
                f"the class {label!r} has only one distinct image, too few to train on one and test on "
                "another: add images of it, or leave the class out"
            )
        shuffled = rng.permutation(members)
        held[shuffled[_fitting(sizes[shuffled], test_size)]] = True
    return np.flatnonzero(~held[group_of_row]), np.flatnonzero(held[group_of_row])


def repeated(
    labels: ArrayLike, groups: ArrayLike, test_size: float, seed: int, times: int
) -> Iterator[tuple[Rows, Rows]]:
    """Several splits, the first of which is `split` itself; parameters and errors as there."""
    yield split(labels, groups, test_size, seed)
    for other in np.random.default_rng(seed).integers(2**32, size=times - 1).tolist():
        yield split(labels, groups, test_size, other)


def mixed(labels: ArrayLike, groups: ArrayLike) -> bool:
    """Whether a group, or a row, may have several labels: groups are then dealt out, see `dealing`."""
    if np.ndim(labels) == 2:
        return True
    _, of_label = np.unique(np.asarray(labels), return_inverse=True)
    _, first, group_of_row = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    return bool((of_label != of_label[first][group_of_row]).any())


def check_test_size(test_size: float) -> None:
    """Raise InvalidArgument unless it is a share between 0 and 1."""
    if not 0 < test_size < 1:
        raise InvalidArgument(f"the test size must be between 0 and 1, for instance 0.25, not {test_size}")


def folds(labels: ArrayLike, groups: ArrayLike, seed: int, count: int = FOLDS) -> Rows:
    """For each row, the fold of the cross-validation in which it is held out.

    Every class is in every training part. A class with fewer groups than folds
    is held out in as many folds as it has groups, and one with a single group
    in none (`NEVER`); there are never more folds than the largest class has groups.

    Parameters
    ----------
    labels : array-like of shape (n,), or bool of shape (n, classes)
        As of `split`.
    groups : array-like of shape (n,)
    seed : int
    count : int

    Returns
    -------
    int array of shape (n,)
        0 ... count - 1, or `NEVER`.
    """
    if mixed(labels, groups):
        return dealing.folds(labels, groups, seed, count)
    group_of_row, classes = _classes(labels, groups)
    fold = np.full(group_of_row.max(initial=-1) + 1, NEVER)
    rng = np.random.default_rng(seed)
    dealt = 0
    shuffled = [rng.permutation(members) for _, members in classes]
    count = min(count, max(map(len, shuffled), default=0))
    for members in shuffled:
        if len(members) > 1:
            fold[members] = (dealt + np.arange(len(members))) % count
            dealt += len(members)
    held: Rows = fold[group_of_row]
    return held


def _fitting(sizes: Rows, share: float) -> list[int]:
    """The places of the first groups that fit into a share of all rows: at least one, and never all."""
    room = min(round(share * sizes.sum()), int(sizes.sum() - sizes.min()))
    found = []
    for place, size in enumerate(sizes.tolist()):
        if size <= room:
            found.append(place)
            room -= size
    return found or [int(sizes.argmin())]


def _classes(labels: ArrayLike, groups: ArrayLike) -> tuple[Rows, Iterator[tuple[Any, Rows]]]:
    """The group of each row, counted from 0, and each class with the groups that it has."""
    _, first, group_of_row = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    label_of_group = np.asarray(labels)[first]
    classes = np.unique(label_of_group).tolist()
    return group_of_row, ((each, np.flatnonzero(label_of_group == each)) for each in classes)
