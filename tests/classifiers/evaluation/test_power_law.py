"""Curves are made with a known law; the advice is compared with what it says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from classifiers.evaluation.power_law import Advice, advise, fitted

SIZES = np.array([125.0, 250, 500, 1000, 1500, 2000])


def advices(floor: float, slope: float, power: float, noise: float, rounds: int = 60) -> list[Advice]:
    rng = np.random.default_rng(0)
    truth = floor + slope * SIZES**-power
    return [
        advise(SIZES, np.clip(truth + rng.normal(0, noise, (8, 1)) + rng.normal(0, noise, (8, 6)), 0, 1))
        for _ in range(rounds)
    ]


@pytest.mark.parametrize(("floor", "slope", "power", "noise"), [(0.02, 2, 0.5, 0.004), (0, 1.5, 0.35, 0.003)])
def test_the_labels_that_one_more_point_takes_are_found(floor, slope, power, noise) -> None:
    now = slope * 2000**-power
    truth = (slope / (now - 0.01)) ** (1 / power) - 2000
    told = [each for each in advices(floor, slope, power, noise) if each.verdict == "labels"]
    assert len(told) >= 54
    assert np.median([each.more for each in told]) == pytest.approx(truth, rel=0.15)
    held = [each.interval[0] <= truth <= each.interval[1] for each in told if each.interval]
    assert np.mean(held) >= 0.65


def test_a_flat_curve_is_said_to_be_flat() -> None:
    verdicts = Counter(each.verdict for each in advices(0.1, 0, 0.5, 0.005))
    assert verdicts["flat"] >= 48
    assert verdicts["labels"] == 0


def test_where_noise_hides_the_law_it_says_that_it_cannot_tell() -> None:
    verdicts = Counter(each.verdict for each in advices(0.14, 0.5, 0.5, 0.02))
    assert verdicts["labels"] <= 12
    assert verdicts["unclear"] >= 20


def test_too_few_points_or_repeats_tell_nothing() -> None:
    errors = np.tile([0.3, 0.2, 0.15], (8, 1))
    assert advise(SIZES[:3], errors).verdict == "unclear"
    assert advise(SIZES, 2 * SIZES[None] ** -0.5).verdict == "unclear"


def test_a_law_without_noise_is_recovered() -> None:
    floor, slope, power = fitted(SIZES, (0.05 + 3 * SIZES**-0.6)[None], np.ones(6))
    assert (floor[0], slope[0], power[0]) == pytest.approx((0.05, 3, 0.6), rel=0.1)
