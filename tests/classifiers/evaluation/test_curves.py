from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sklearn

from classifiers.evaluation.curves import POINTS, area_under_roc, one_against_rest


@pytest.mark.parametrize("levels", [None, 5])
def test_the_areas_are_scikit_learns(levels: int | None) -> None:
    """With ties, too."""
    rng = np.random.default_rng(0)
    is_class = rng.random(300) < 0.3
    scores = rng.normal(size=300) + is_class
    if levels:
        scores = np.round(scores * levels / 4)
    curves = one_against_rest("a", scores, is_class)
    assert curves is not None
    assert curves.auc.value == pytest.approx(sklearn.roc_auc_score(is_class, scores))
    assert curves.average_precision.value == pytest.approx(sklearn.average_precision_score(is_class, scores))
    assert len(curves.roc) <= POINTS
    assert curves.roc[[0, -1]].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(("of_class", "of_rest", "apart"), [(15, 40, 1.0), (40, 120, 2.0)])
def test_the_interval_of_the_area_holds_it_as_often_as_it_says(
    of_class: int, of_rest: int, apart: float
) -> None:
    rng, truth, rounds = np.random.default_rng(1), norm.cdf(apart / 2**0.5), 400
    hits = 0
    for _ in range(rounds):
        area = area_under_roc(rng.normal(apart, 1, of_class), rng.normal(0, 1, of_rest))
        hits += area.low <= truth <= area.high
    assert 0.92 <= hits / rounds <= 0.99


def test_a_perfect_area_of_few_images_is_not_sure() -> None:
    area = area_under_roc(np.array([2.0, 3, 4]), np.array([0.0, 1]))
    assert area.value == area.high == 1
    assert area.low < 0.8


def test_there_are_no_curves_of_a_class_alone() -> None:
    assert one_against_rest("a", np.zeros(3), np.ones(3, bool)) is None
    assert one_against_rest("a", np.zeros(3), np.zeros(3, bool)) is None
