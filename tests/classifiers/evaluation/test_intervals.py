"""The truth is known here: what is drawn again and again has to lie in its interval as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from classifiers.evaluation.evaluate import evaluate
from classifiers.evaluation.intervals import (
    f1_interval,
    mean_interval,
    resampled_interval,
    wilson_interval,
)


def covered(interval: tuple[float, float] | None, truth: float) -> bool:
    assert interval is not None
    return interval[0] <= truth <= interval[1]


@pytest.mark.parametrize(
    ("classes", "support", "share"), [(2, 25, 0.9), (2, 25, 0.97), (3, 40, 0.8), (8, 20, 0.9)]
)
def test_the_intervals_of_means_over_classes_hold_the_truth_as_often_as_they_say(
    classes: int, support: int, share: float
) -> None:
    rng, names, rounds = np.random.default_rng(0), list("abcdefgh"[:classes]), 200
    shares = np.full((classes, classes), (1 - share) / (classes - 1))
    np.fill_diagonal(shares, share)
    truth = np.repeat(names, support)
    hits = np.zeros(2)
    for _ in range(rounds):
        answers = np.concatenate([rng.choice(names, support, p=row) for row in shares])
        metrics = evaluate(names, truth, answers, "a")
        # with equal supports and errors spread evenly, recall and precision are the share for each class
        hits += [
            covered(metrics.balanced_accuracy_interval, share),
            covered(metrics.macro_f1_interval, share),
        ]
    assert (hits / rounds >= 0.9).all(), hits / rounds


def test_the_interval_of_f1_over_many_small_classes_lies_about_it() -> None:
    """F1 of few images is too low on average, so that of tables drawn again it would be too low twice."""
    rng, classes, share = np.random.default_rng(0), 60, 0.6
    names = [f"{at:02}" for at in range(classes)]
    shares = np.full((classes, classes), (1 - share) / (classes - 1))
    np.fill_diagonal(shares, share)
    off = []
    for _ in range(4):
        answers = np.concatenate([rng.choice(names, 3, p=row) for row in shares])
        metrics = evaluate(names, np.repeat(names, 3), answers, "00")
        off.append(np.mean(metrics.macro_f1_interval) - metrics.macro_f1)
    assert abs(np.mean(off)) < 0.01


def test_classes_that_do_not_occur_change_no_interval() -> None:
    truth, answers = list("aaabbbbb") * 4, list("aabbbbba") * 4
    few, many = (evaluate(names, truth, answers, "a") for names in (["a", "b"], ["a", "b", "c", "d"]))
    assert many.macro_f1_interval == few.macro_f1_interval
    assert many.balanced_accuracy_interval == few.balanced_accuracy_interval
    assert many.macro_f1 == few.macro_f1


def test_the_interval_of_a_class_holds_its_f1_as_often_as_it_says() -> None:
    rng, rounds = np.random.default_rng(1), 500
    table = np.array([[0.15, 0.05], [0.1, 0.7]])
    truth = 2 * table[0, 0] / (table[0].sum() + table[:, 0].sum())
    hits = 0
    for _ in range(rounds):
        counts = rng.multinomial(150, table.ravel()).reshape(2, 2)
        hits += covered(f1_interval(*map(int, (counts[0, 0], counts[0].sum(), counts[:, 0].sum()))), truth)
    assert 0.92 <= hits / rounds <= 0.985


def test_f1_lies_in_its_interval_and_there_is_none_of_nothing() -> None:
    truth, answers = [1] * 30 + [0] * 70, [1] * 20 + [0] * 75 + [1] * 5
    interval = f1_interval(20, 30, 25)
    assert covered(interval, f1_score(truth, answers))
    assert f1_interval(0, 0, 0) is None


def test_a_test_set_without_an_error_does_not_claim_that_there_can_be_none() -> None:
    metrics = evaluate(["a", "b"], list("aaabbb"), list("aaabbb"), "a")
    assert metrics.balanced_accuracy == 1
    assert metrics.balanced_accuracy_interval[0] < 0.9
    assert metrics.macro_f1_interval[0] < 0.9
    assert metrics.classes[0].f1_interval == pytest.approx((0.61, 1), abs=0.01)


def test_the_same_table_has_the_same_intervals() -> None:
    first, again = (evaluate(["a", "b"], list("aabbb"), list("ababb"), "a") for _ in range(2))
    assert first == again


def test_a_class_that_nothing_is_taken_for_has_no_interval_of_its_precision() -> None:
    metrics = evaluate(["a", "b", "c"], list("aab"), list("aaa"), "a")
    assert metrics.classes[1].precision_interval is None
    assert metrics.classes[1].recall_interval == pytest.approx((0, 0.793), abs=0.001)
    assert metrics.classes[2].f1_interval is None


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = [covered(mean_interval(rng.exponential(size=100), draws=400), 1.0) for _ in range(200)]
    assert np.mean(hits) >= 0.88


def test_overlapping_splits_count_less_than_independent_ones() -> None:
    values = np.array([0.8, 0.82, 0.84, 0.86])
    low, high = resampled_interval(values, 0.25)
    alone = resampled_interval(values, 0.0)
    assert (low + high) / 2 == pytest.approx(0.83)
    assert (high - low) / (alone[1] - alone[0]) == pytest.approx((1 + 4 / 3) ** 0.5)


def test_the_interval_of_a_share_of_all_or_none_ends_there() -> None:
    for n in range(1, 200):
        assert wilson_interval(n, n)[1] == 1
        assert wilson_interval(0, n)[0] == 0
