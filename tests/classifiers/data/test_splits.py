from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.data.splits import NEVER, folds, repeated, split
from extractor.errors import InvalidArgument

# Pictures: how many copies of each, class by class.
copies = st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=12), min_size=1, max_size=5)
seeds = st.integers(0, 2**32)


def rows(classes: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and digests, one for each copy."""
    pictures = [(f"class {c}", f"{c}/{i}", n) for c, each in enumerate(classes) for i, n in enumerate(each)]
    labels = [label for label, _, n in pictures for _ in range(n)]
    return np.array(labels), np.array([digest for _, digest, n in pictures for _ in range(n)])


@settings(deadline=None)
@given(copies, st.floats(0.05, 0.95), seeds)
def test_the_split_parts_every_row_and_no_picture(classes: list[list[int]], size: float, seed: int) -> None:
    """Each row is on one side; no digest is on both; every class is on both, in the asked share."""
    labels, digests = rows(classes)
    train, test = split(labels, digests, size, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert not set(digests[train]) & set(digests[test])
    for c, each in enumerate(classes):
        held = [digest for digest in digests[test] if digest.startswith(f"{c}/")]
        assert 1 <= len(set(held)) < len(each)
        assert abs(len(held) - size * sum(each)) <= max(each)


@settings(deadline=None)
@given(copies, seeds, st.randoms())
def test_the_split_depends_on_the_pictures_and_not_on_their_order(classes, seed, random) -> None:
    labels, digests = rows(classes)
    order = list(range(len(labels)))
    random.shuffle(order)
    _, test = split(labels, digests, 0.25, seed)
    _, shuffled = split(labels[order], digests[order], 0.25, seed)
    assert set(digests[test]) == set(digests[order][shuffled])


def test_another_seed_gives_another_split() -> None:
    labels, digests = np.repeat(["a", "b"], 50), np.arange(100)
    assert split(labels, digests, 0.25, 0)[1].tolist() != split(labels, digests, 0.25, 1)[1].tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=5), seeds)
def test_folds_keep_pictures_whole_and_classes_everywhere(classes: list[list[int]], seed: int) -> None:
    """No digest is in two folds; every class is in every training part; a class is spread evenly."""
    labels, digests = rows(classes)
    fold = folds(labels, digests, seed)
    for digest in set(digests):
        assert len(set(fold[digests == digest])) == 1
    for number in range(fold.max() + 1):
        assert set(labels[fold != number]) == set(labels)
        assert (fold == number).any()
    for c, each in enumerate(classes):
        of_class = {digest: fold[digests == digest][0] for digest in digests if digest.startswith(f"{c}/")}
        counts = np.bincount([number for number in of_class.values() if number != NEVER], minlength=1)
        assert (counts.max() <= -(-len(each) // 5)) if len(each) >= 5 else (counts.max() <= 1)


def test_a_class_with_one_picture_is_never_held_out() -> None:
    fold = folds(["a"] * 5 + ["b"], range(6), seed=0)
    assert fold[5] == NEVER
    assert sorted(fold[:5]) == [0, 1, 2, 3, 4]


def test_there_are_no_more_folds_than_the_largest_class_has_pictures() -> None:
    assert folds(["a", "a", "a", "b", "b"], range(5), seed=0).max() == 2


def test_a_class_that_cannot_be_split_is_named() -> None:
    with pytest.raises(InvalidArgument, match="'b' has only one distinct image"):
        split(["a", "a", "b", "b"], [1, 2, 3, 3], 0.25, 0)


@pytest.mark.parametrize("size", [0, 1, -0.5, 25, float("nan")])
def test_a_test_size_that_is_no_share_is_refused(size: float) -> None:
    with pytest.raises(InvalidArgument, match=str(size)):
        split(["a", "a"], [1, 2], size, 0)


several = st.integers(1, 4).flatmap(
    lambda classes: st.lists(
        st.tuples(st.lists(st.booleans(), min_size=classes, max_size=classes), st.integers(0, 15)),
        min_size=4,
        max_size=60,
    )
)
"""Rows: which labels each has, and its group."""


def groups_with(labels: np.ndarray, groups: np.ndarray) -> list[set[int]]:
    return [set(groups[column].tolist()) for column in labels.T]


@settings(deadline=None)
@given(several, seeds)
def test_what_a_group_or_two_has_is_trained_on(rows: list, seed: int) -> None:
    """A label, and its absence, whatever labels come together; no group is parted."""
    labels, groups = (np.array(each) for each in zip(*rows, strict=True))
    train, test = split(labels, groups, 0.25, seed)
    assert sorted([*train, *test]) == list(range(len(rows)))
    assert not set(groups[train]) & set(groups[test])
    for side in (labels, ~labels):
        assert (side[train].any(axis=0) == side.any(axis=0)).all()


@settings(deadline=None)
@given(several, seeds)
def test_every_label_and_its_absence_is_in_every_training_part(rows: list, seed: int) -> None:
    labels, groups = (np.array(each) for each in zip(*rows, strict=True))
    fold = folds(labels, groups, seed)
    for group in set(groups.tolist()):
        assert len(set(fold[groups == group])) == 1
    for number in range(fold.max() + 1):
        assert (fold == number).any()
        for side in (labels, ~labels):
            assert (side[fold != number].any(axis=0) == side.any(axis=0)).all()


def test_each_of_several_labels_is_held_out_in_its_share() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((400, 5)) < [0.5, 0.2, 0.1, 0.05, 0.02]
    _, test = split(labels, np.arange(400), 0.25, 0)
    assert len(test) == pytest.approx(100, abs=4)
    assert labels[test].sum(axis=0) == pytest.approx(0.25 * labels.sum(axis=0), abs=1.5)
    fold = folds(labels, np.arange(400), 0)
    for number in range(5):
        assert labels[fold == number].sum(axis=0) == pytest.approx(labels.sum(axis=0) / 5, abs=2)


@settings(deadline=None)
@given(several, seeds, st.randoms())
def test_groups_are_dealt_whatever_the_order_of_their_rows(rows: list, seed: int, random) -> None:
    labels, groups = (np.array(each) for each in zip(*rows, strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    _, test = split(labels, groups, 0.25, seed)
    _, shuffled = split(labels[order], groups[order], 0.25, seed)
    assert set(groups[test]) == set(groups[order][shuffled])


def test_a_group_of_two_classes_stays_whole_and_both_are_trained_on() -> None:
    labels = np.array(["a", "b", "a", "a", "b", "b", "b"])
    groups = np.array([1, 1, 2, 3, 4, 5, 1])
    train, test = split(labels, groups, 0.25, 0)
    assert not set(groups[train]) & set(groups[test])
    assert set(labels[train]) == set(labels[test]) == {"a", "b"}


def test_repeated_splits_begin_with_the_split_and_differ() -> None:
    labels, digests = np.repeat(["a", "b"], 30), np.arange(60)
    tests = [test.tolist() for _, test in repeated(labels, digests, 0.25, 7, 5)]
    assert tests[0] == split(labels, digests, 0.25, 7)[1].tolist()
    assert len({tuple(test) for test in tests}) == 5
    assert tests == [test.tolist() for _, test in repeated(labels, digests, 0.25, 7, 5)]


@pytest.mark.parametrize("seed", range(10))
def test_one_large_group_does_not_become_the_test_set(seed: int) -> None:
    labels = np.repeat(["a", "b"], 100)
    groups = np.concatenate([np.minimum(np.arange(100) + 1, 20), 100 + np.arange(100)])
    _, test = split(labels, groups, 0.25, seed)
    assert (labels[test] == "a").sum() == 19
    assert (labels[test] == "b").sum() == 25
