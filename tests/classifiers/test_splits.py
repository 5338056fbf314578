from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.splits import NEVER, folds, split
from extractor.errors import InvalidArgument

# Pictures: how many copies of each, class by class.
copies = st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=12), min_size=1, max_size=5)
seeds = st.integers(0, 2**32)


def rows(classes: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and digests, one for each copy."""
    pictures = [(f"class {c}", f"{c}/{i}", n) for c, each in enumerate(classes) for i, n in enumerate(each)]
    labels = [label for label, _, n in pictures for _ in range(n)]
    return np.array(labels), np.array([digest for _, digest, n in pictures for _ in range(n)])


@given(copies, st.floats(0.05, 0.95), seeds)
def test_the_split_parts_every_row_and_no_picture(classes: list[list[int]], size: float, seed: int) -> None:
    """Each row is on one side; no digest is on both; every class is on both, in the asked share."""
    labels, digests = rows(classes)
    train, test = split(labels, digests, size, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert not set(digests[train]) & set(digests[test])
    for c, each in enumerate(classes):
        held = len({digest for digest in digests[test] if digest.startswith(f"{c}/")})
        assert 1 <= held < len(each)
        assert abs(held - size * len(each)) <= 1


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
