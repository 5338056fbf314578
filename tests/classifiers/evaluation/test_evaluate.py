from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from classifiers.evaluation.evaluate import evaluate, wilson_interval
from extractor.errors import InvalidArgument

pairs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


@given(pairs)
def test_the_figures_are_scikit_learns(rows: list[tuple[str, str]]) -> None:
    truth, answers = map(list, zip(*rows, strict=True))
    figures = evaluate(["a", "b", "c"], truth, answers, majority="a")
    assert figures.accuracy == pytest.approx(sklearn.accuracy_score(truth, answers))
    assert figures.macro_f1 == pytest.approx(
        sklearn.f1_score(truth, answers, average="macro", zero_division=0)
    )
    seen = sorted(set(truth))
    recall = sklearn.recall_score(truth, answers, labels=seen, average="macro", zero_division=0)
    assert figures.balanced_accuracy == pytest.approx(recall)
    expected = sklearn.confusion_matrix(truth, answers, labels=["a", "b", "c"])
    assert np.array_equal(figures.confusion, expected)
    table = sklearn.precision_recall_fscore_support(truth, answers, labels=["a", "b", "c"], zero_division=0)
    ours = [(each.precision, each.recall or 0, each.f1, each.support) for each in figures.classes]
    assert np.allclose(ours, np.transpose(table))


def test_the_majority_is_that_of_the_training_part() -> None:
    figures = evaluate(["a", "b"], list("abbb"), list("abbb"), majority="a")
    assert (figures.majority, figures.majority_accuracy) == ("a", 0.25)


def test_a_class_without_test_images_has_no_recall() -> None:
    figures = evaluate(["a", "b"], ["a"], ["a"], majority="a")
    assert figures.classes[1].recall is None
    assert figures.balanced_accuracy == 1


def test_classes_may_come_in_any_order() -> None:
    assert evaluate(["b", "a"], ["a", "b", "b"], ["a", "a", "b"], "a").confusion == [[1, 1], [0, 1]]


def test_a_class_that_the_head_does_not_know_is_named() -> None:
    with pytest.raises(InvalidArgument, match="'z', which no training image has"):
        evaluate(["a", "b"], ["a", "z"], ["a", "a"], majority="a")


def test_wilsons_interval_is_the_published_one() -> None:
    """146 of 153 (ants and bees): 90.9 to 97.8 %."""
    assert wilson_interval(146, 153) == pytest.approx((0.909, 0.978), abs=5e-4)


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    low, high = wilson_interval(*case)
    assert 0 <= low <= case[0] / case[1] + 1e-12
    assert case[0] / case[1] - 1e-12 <= high <= 1
