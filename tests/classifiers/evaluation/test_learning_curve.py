"""Curves of tasks whose course is known."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.data.targets import Labelled
from classifiers.evaluation.learning_curve import OWN_KIND, REPEATS, SLOW, _nested, learning_curve, resplits
from classifiers.kinds import KINDS, Rows
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice


def clouds(n: int, classes: int, apart: float, dim: int = 24) -> Labelled:
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    X = apart * rng.normal(size=(classes, dim))[y] + rng.normal(size=(n, dim))
    return Labelled.of(X.astype(np.float32), y)


def curve_of(rows: Labelled, kind: str = "ridge"):
    choice = Choice(kind, KINDS[kind].default)
    return learning_curve(rows, choice, Recipe(), resplits(rows, 0.25, 0), resplit=True)


def test_more_labels_give_more_and_the_last_point_is_all_of_the_training_part() -> None:
    curve = curve_of(clouds(600, 3, 0.35))
    assert curve.sizes[-1] == 450
    assert curve.sizes == sorted(curve.sizes)
    assert curve.errors.shape == (REPEATS, len(curve.sizes))
    assert curve.accuracy[-1].value > curve.accuracy[0].value + 0.05
    assert all(0 <= each.low <= each.value <= each.high <= 1 for each in curve.accuracy)
    assert (curve.test_rows, curve.resplit) == (150, True)


def test_labels_that_say_nothing_stay_at_chance_and_the_advice_promises_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = Labelled.of(rng.normal(size=(400, 16)).astype(np.float32), rng.integers(2, size=400))
    curve = curve_of(rows)
    assert curve.accuracy[-1].value == pytest.approx(0.5, abs=0.06)
    assert curve.advice.verdict in ("flat", "unclear")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_curve(kind: str) -> None:
    curve = curve_of(clouds(120, 2, 1.0), kind)
    assert curve.kind == kind
    assert curve.accuracy[-1].value > 0.9


def test_a_head_of_many_rows_is_stood_in_for_by_ridge_regression() -> None:
    rows = clouds(OWN_KIND // 2 * 4 // 3 + 8, 2, 0.5, dim=4)
    assert curve_of(rows, "logistic").kind == "ridge"
    few = clouds(SLOW["mlp"], 2, 0.5, dim=4)
    assert curve_of(few, "mlp").kind == "ridge"


def test_too_few_rows_have_no_curve() -> None:
    assert curve_of(clouds(12, 3, 1.0)) is None


def test_the_same_rows_have_the_same_curve() -> None:
    first, again = curve_of(clouds(200, 2, 0.4)), curve_of(clouds(200, 2, 0.4))
    assert np.array_equal(first.errors, again.errors)
    assert first.advice == again.advice


def test_test_images_that_are_given_stay_the_test_images() -> None:
    rows = clouds(300, 2, 0.4)
    part = np.arange(200), np.arange(200, 300)
    choice = Choice("ridge", KINDS["ridge"].default)
    curve = learning_curve(rows, choice, Recipe(), [part] * REPEATS, resplit=False)
    assert curve is not None
    assert np.ptp(curve.errors[:, -1]) == 0, "all labels are the same ones in every repeat"
    assert np.ptp(curve.errors[:, 0]) > 0


def test_every_beginning_has_all_classes_in_their_shares() -> None:
    y = np.repeat([0, 1, 2], [160, 30, 10])
    rows = Labelled.of(np.zeros((200, 2), np.float32), y)
    order = _nested(rows, 0)
    assert sorted(order.tolist()) == list(range(200))
    assert set(y[order[:3]]) == {0, 1, 2}
    assert np.bincount(y[order[:100]]).tolist() == [80, 15, 5]


def test_multi_label_rows_have_a_curve() -> None:
    rng = np.random.default_rng(0)
    Y = rng.random((300, 3)) < 0.4
    X = (Y @ rng.normal(size=(3, 12)) * 2 + rng.normal(size=(300, 12))).astype(np.float32)
    curve = curve_of(Labelled.of(X, Y))
    assert curve.accuracy[-1].value > 0.85


def test_a_few_images_that_are_always_answered_rightly_make_nothing_sure() -> None:
    """Repeats that agree have no spread, but they are of the same two dozen images."""
    curve = curve_of(clouds(24, 2, 6.0))
    assert curve.accuracy[-1].value == 1
    assert curve.accuracy[-1].low < 0.9


@pytest.mark.parametrize("resplit", [True, False])
def test_the_last_point_holds_the_accuracy_on_all_images_as_often_as_it_says(resplit: bool) -> None:
    """Of clouds whose true accuracy is known: a head on all rows of them is tested on 4,000 more."""
    hits, rounds, dim = 0, 40, 8
    centres = np.random.default_rng(3).normal(size=(2, dim)) * 0.5
    for seed in range(rounds):
        rng = np.random.default_rng([seed, 5])
        y = np.arange(4160) % 2
        X = (centres[y] + rng.normal(size=(len(y), dim))).astype(np.float32)
        rows, choice = Labelled.of(X[:160], y[:160]), Choice("ridge", KINDS["ridge"].default)
        parts = resplits(rows, 0.25, seed)
        curve = learning_curve(rows, choice, Recipe(), parts if resplit else parts[:1] * 8, resplit=resplit)
        train = parts[0][0]
        scaling = Recipe().scaling(X[train], np.ones(len(train)))
        known = Rows(scaling(X[train]), y[train], np.ones(len(train)), 2, 0)
        layer = KINDS["ridge"].fitter(known, False)(choice.setting)
        truth = (layer.scores(scaling(X[160:])).argmax(axis=1) == y[160:]).mean()
        hits += curve.accuracy[-1].low <= truth <= curve.accuracy[-1].high
    assert hits / rounds >= 0.85
