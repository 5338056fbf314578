from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from classifiers.evaluation.multi_label import best_thresholds, evaluate_several


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, answers, known = (rng.random((200, 4)) < 0.3 for _ in range(3))
    metrics = evaluate_several(list("abcd"), truth, answers, known)
    assert metrics.micro_f1 == pytest.approx(f1_score(truth, answers, average="micro"))
    assert metrics.macro_f1 == pytest.approx(f1_score(truth, answers, average="macro"))
    assert [each.f1 for each in metrics.classes] == pytest.approx(f1_score(truth, answers, average=None))
    assert metrics.accuracy == (truth == answers).all(axis=1).mean()
    assert metrics.micro_f1_interval[0] < metrics.micro_f1 < metrics.micro_f1_interval[1]


def test_the_commonest_set_of_labels_is_the_baseline() -> None:
    known = np.array([[1, 0], [1, 1], [1, 1]], bool)
    metrics = evaluate_several(["a", "b"], known, known, known)
    assert (metrics.majority, metrics.majority_accuracy) == ("a|b", 2 / 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=30)
)
def test_no_other_threshold_has_a_better_f1(rows: list[tuple[float, bool]]) -> None:
    scores, truth = (np.array(each) for each in zip(*rows, strict=True))
    (threshold,) = best_thresholds(scores[:, None], truth[:, None])

    def f1(cut: float) -> float:
        return float(f1_score(truth, scores >= cut, zero_division=0.0))

    assert f1(threshold) == pytest.approx(max(map(f1, [0, 0.15, 0.3, 0.5, 0.7, 1])))


def test_rows_that_were_never_held_out_say_nothing() -> None:
    scores = np.array([[0.2], [0.6], [np.nan]])
    assert best_thresholds(scores, np.array([[False], [True], [True]])) == [pytest.approx(0.4)]
    assert best_thresholds(scores, np.zeros((3, 1), bool)) == [0.5]


@pytest.mark.parametrize(
    ("n", "shares", "found", "taken"), [(60, [0.1, 0.3, 0.4], 0.85, 0.05), (40, [0.3, 0.5], 0.97, 0.02)]
)
def test_the_intervals_of_means_over_labels_hold_the_truth_as_often_as_they_say(
    n, shares, found, taken
) -> None:
    rng, rounds, share = np.random.default_rng(0), 60, np.array(shares)
    right, said = share * found, share * found + (1 - share) * taken
    truths = np.mean(2 * right / (share + said)), 2 * right.sum() / (share + said).sum(), found
    hits = np.zeros(3)
    for _ in range(rounds):
        truth = rng.random((n, len(share))) < share
        answers = rng.random(truth.shape) < np.where(truth, found, taken)
        metrics = evaluate_several(list("abc")[: len(share)], truth, answers, truth)
        intervals = metrics.macro_f1_interval, metrics.micro_f1_interval, metrics.balanced_accuracy_interval
        hits += [low <= each <= high for (low, high), each in zip(intervals, truths, strict=True)]
    assert (hits / rounds >= 0.9).all(), hits / rounds


def test_a_few_images_that_are_all_right_do_not_claim_that_there_can_be_no_error() -> None:
    truth = np.array([[True, False], [False, True], [True, True]] * 2)
    metrics = evaluate_several(["a", "b"], truth, truth, truth)
    assert metrics.macro_f1 == 1
    assert metrics.macro_f1_interval[0] < 0.95
    assert metrics.micro_f1_interval[0] < 0.95
