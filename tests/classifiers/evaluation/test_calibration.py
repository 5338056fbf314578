"""Scores whose truth is drawn from them are calibrated; those that are sharpened are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from classifiers.evaluation.calibration import (
    calibration_error,
    chance_calibration_error,
    log_loss,
    reliability,
    temperature,
)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes, and truths drawn from their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, truth


def test_right_probabilities_stay_below_what_chance_gives() -> None:
    """In about nineteen of twenty test sets."""
    below = []
    for seed in range(60):
        logits, truth = drawn(300, seed)
        told = softmax(logits, axis=1)
        below.append(calibration_error(told, truth) <= chance_calibration_error(told))
    assert np.mean(below) >= 0.88


def test_sharpened_probabilities_do_not_and_a_temperature_mends_them() -> None:
    logits, truth = drawn(1000, 0)
    sharp = 3 * logits
    told = softmax(sharp, axis=1)
    assert calibration_error(told, truth) > 2 * chance_calibration_error(told)
    found = temperature(sharp, truth)
    assert found == pytest.approx(3, rel=0.15)
    mended = softmax(sharp / found, axis=1)
    assert calibration_error(mended, truth) <= chance_calibration_error(mended)
    assert log_loss(sharp / found, truth) < log_loss(sharp, truth)


def test_rows_that_are_all_answered_rightly_make_no_answer_certain() -> None:
    """Two hundred of them say that one in about two hundred may be wrong, and no more."""
    truth = np.arange(200) % 3
    logits = 5.0 * np.eye(3)[truth]
    told = softmax(logits / temperature(logits, truth), axis=1)
    assert told.max(axis=1) == pytest.approx(201 / 202, abs=1e-3)
    several = np.eye(3, dtype=bool)[truth]
    margins = 5.0 * (2 * several - 1)
    assert expit(5.0 / temperature(margins, several)) == pytest.approx(201 / 202, abs=1e-3)


def test_the_bins_of_reliability_add_up_to_the_error() -> None:
    logits, truth = drawn(500, 3)
    told = softmax(logits, axis=1)
    bins = reliability(told, truth)
    assert sum(each.images for each in bins) == 500
    gaps = sum(each.images * abs(each.confidence - each.accuracy) for each in bins) / 500
    assert gaps == pytest.approx(calibration_error(told, truth))
