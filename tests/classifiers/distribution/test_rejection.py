"""Unknowns, on rows whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import FALSE_REJECTS, Rejection, threshold_of
from classifiers.distribution.statistics import KEPT_ROWS, Statistics

DIM = 40
CENTRES = np.random.default_rng(1).normal(0, 2, (5, DIM))
SPREAD = np.random.default_rng(2).normal(size=(DIM, DIM)) / 4


def drawn(place: int, n: int, seed: int) -> np.ndarray:
    """Rows of one class: all classes have one covariance, far from round."""
    rng = np.random.default_rng([seed, place])
    return (CENTRES[place] + rng.normal(size=(n, DIM)) @ SPREAD).astype(np.float32)


def labelled(n: int, classes: int = 4, seed: int = 0) -> Labelled:
    X = np.concatenate([drawn(place, n, seed) for place in range(classes)])
    return Labelled.of(X, np.repeat([f"class {place}" for place in range(classes)], n))


@pytest.mark.parametrize(("n", "least"), [(40, 0.01), (400, 0.03)])
def test_new_images_of_the_classes_are_rejected_at_the_stated_rate(n: int, least: float) -> None:
    """Over ten draws; of few rows fewer, since the fit on all of them is better than those of the folds."""
    shares = []
    for seed in range(10):
        rejection = Rejection.fit(labelled(n, seed=seed))
        assert rejection is not None
        shares.append(rejection.unknown(labelled(500, seed=100 + seed).X).mean())
    assert least < np.mean(shares) < FALSE_REJECTS + 0.02


def test_images_of_another_class_are_unknown() -> None:
    rejection = Rejection.fit(labelled(200))
    assert rejection is not None
    assert rejection.unknown(drawn(4, 300, 9)).mean() > 0.99


def test_leaving_a_class_out_finds_it_and_names_each() -> None:
    rejection = Rejection.fit(labelled(100))
    assert rejection is not None
    assert list(rejection.measured.left_out) == [f"class {place}" for place in range(4)]
    assert min(rejection.measured.left_out.values()) > 0.99
    assert rejection.measured.auroc == pytest.approx(np.mean(list(rejection.measured.left_out.values())))


def test_a_class_that_cannot_be_told_from_another_has_no_better_auroc_than_chance() -> None:
    """Two names for the same rows."""
    X = np.concatenate([drawn(0, 200, seed) for seed in range(2)])
    rejection = Rejection.fit(Labelled.of(X, ["one"] * 200 + ["other"] * 200))
    assert rejection is not None
    assert all(abs(share - 0.5) < 0.12 for share in rejection.measured.left_out.values())


def test_the_threshold_is_the_conformal_quantile() -> None:
    distances = np.arange(1.0, 100.0)
    assert threshold_of(distances, 0.05) == 95
    assert threshold_of(distances[:10], 0.05) == 10


def test_what_the_test_rows_say_of_the_threshold_is_kept() -> None:
    rejection = Rejection.fit(labelled(100))
    assert rejection is not None
    X = labelled(50, seed=7).X
    assert rejection.tested(X).measured.rejected == rejection.unknown(X).mean()


def test_several_labels_have_one_centre() -> None:
    X = labelled(60).X
    y = np.random.default_rng(0).random((len(X), 3)) < 0.5
    rows = Labelled.of(X, y)
    rejection, statistics = Rejection.fit(rows), Statistics.of(rows)
    assert rejection is not None
    assert rejection.measured.left_out == {}
    assert statistics.centres.shape == (1, DIM)
    assert statistics.counts.tolist() == y.sum(axis=0).tolist()


def test_statistics_give_the_moments_of_all_rows() -> None:
    rows = labelled(400)
    weights = np.random.default_rng(3).random(len(rows.X))
    weighted = Labelled.of(rows.X, rows.y, weights=weights)
    statistics, w = Statistics.of(weighted), weighted.weights
    X = rows.X.astype(np.float64)
    mean = w @ X / w.sum()
    assert np.allclose(statistics.mean(), mean, atol=1e-5)
    assert np.allclose(statistics.moments(), ((X - mean) * w[:, None]).T @ (X - mean), rtol=1e-4, atol=0.1)


def test_of_many_rows_a_sample_of_every_class_is_kept_that_weighs_what_all_do() -> None:
    statistics = Statistics.of(labelled(400))
    assert len(statistics.rows) == KEPT_ROWS
    assert np.bincount(statistics.labels).tolist() == [KEPT_ROWS // 4] * 4
    assert statistics.sample_weights.sum() == pytest.approx(1600)


def test_identical_rows_are_no_trouble() -> None:
    X = np.repeat(np.eye(2, 6, dtype=np.float32), 10, axis=0)
    rejection = Rejection.fit(Labelled.of(X, ["a"] * 10 + ["b"] * 10))
    assert rejection is not None
    assert not rejection.unknown(X).any()
    assert rejection.unknown(np.full((1, 6), 3, np.float32)).all()
