"""Groups with several labels, dealt out to parts so that each label is spread as it should be.

K. Sechidis, G. Tsoumakas and I. Vlahavas, On the Stratification of Multi-Label
Data (2011): the rarest label first, each of its groups to the part that wants
it most. That an image has a label and that it has not are two labels here,
since neither can be learnt from one side alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Places = NDArray[np.intp]

NEVER = -1
"""The fold of a row that is in every training part."""


def split(labels: ArrayLike, groups: ArrayLike, test_size: float, seed: int) -> tuple[Places, Places]:
    """As `splits.split`; a label that one group has is trained on."""
    group_of_row, member = _members(labels, groups)
    counts = member.sum(axis=0)
    held = np.clip(np.round(test_size * counts), np.minimum(counts - 1, 1), counts - 1)
    part = _deal(member, np.stack([counts - held, held]), seed)
    for label in np.flatnonzero(~(member[part == 0] > 0).any(axis=0)):
        part[np.flatnonzero(member[:, label])[0]] = 0
    return np.flatnonzero(part[group_of_row] == 0), np.flatnonzero(part[group_of_row] == 1)


def folds(labels: ArrayLike, groups: ArrayLike, seed: int, count: int) -> Places:
    """As `splits.folds`."""
    group_of_row, member = _members(labels, groups)
    counts = member.sum(axis=0)
    parts = max(min(count, len(member)), 1)
    fold = _deal(member, np.tile(counts / parts, (parts, 1)), seed)
    for label in range(member.shape[1]):
        having = np.flatnonzero(member[:, label])
        if len(np.unique(fold[having])) == 1:
            fold[having[0]] = NEVER
    return _numbered(fold)[group_of_row]


def _members(labels: ArrayLike, groups: ArrayLike) -> tuple[Places, Places]:
    """The group of each row, and how many rows with each label, or without it, each group has."""
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    given = np.asarray(labels)
    has = given.astype(bool) if given.ndim == 2 else given[:, None] == np.unique(given)
    columns = np.hstack([has, ~has]) if given.ndim == 2 else has
    columns = columns[:, columns.any(axis=0)]
    member = np.zeros((group_of_row.max(initial=-1) + 1, columns.shape[1]), dtype=np.intp)
    np.add.at(member, group_of_row, columns)
    return group_of_row, member


def _deal(member: Places, wanted: NDArray[np.float64], seed: int) -> Places:
    """The part of each group; `wanted` says how many rows of each label each part should get."""
    part = np.full(len(member), NEVER)
    wanted = wanted.astype(np.float64)
    for group, label in _rarest_first(member, part, seed):
        keen = wanted[:, label]
        # of parts that want it as much, the one that wants most of all
        part[group] = np.lexsort((-wanted.sum(axis=1), -keen))[0]
        wanted[part[group]] -= member[group]
    return part


def _rarest_first(member: Places, part: Places, seed: int) -> Iterator[tuple[int, int]]:
    """Each group that has no part yet, with the rarest label of those that are left."""
    rng = np.random.default_rng(seed)
    while (left := np.flatnonzero(part == NEVER)).size:
        counts = (member[left] > 0).sum(axis=0)
        label = int(np.where(counts > 0, counts, len(member) + 1).argmin())
        for group in rng.permutation(left[member[left, label] > 0]).tolist():
            yield group, label


def _numbered(fold: Places) -> Places:
    """Without gaps, where a fold has lost its last group."""
    used = np.unique(fold[fold != NEVER])
    return np.where(fold == NEVER, NEVER, np.searchsorted(used, fold))
