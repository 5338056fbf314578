"""Labels are changed on purpose: how many of them are found is measured."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.data.targets import Labelled
from classifiers.evaluation.label_noise import suspects, thresholds
from classifiers.kinds import KINDS
from classifiers.layers.model import probabilities
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import tune


def noisy(classes: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings in overlapping clouds, their labels with a share of them changed, and which were."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), 300)
    X = rng.normal(size=(classes, 32))[truth] + rng.normal(size=(len(truth), 32))
    changed = rng.random(len(truth)) < share
    labels = np.where(changed, (truth + rng.integers(1, classes, len(truth))) % classes, truth)
    return X.astype(np.float32), labels, changed


@pytest.mark.parametrize(("classes", "share"), [(2, 0.1), (5, 0.1)])
def test_four_of_five_changed_labels_are_found_and_hardly_another_is_suspected(classes, share) -> None:
    X, labels, changed = noisy(classes, share)
    rows = Labelled.of(X, labels)
    choice = tune(rows, Recipe(), "logistic")
    found = suspects(probabilities(choice.logits / choice.temperature), rows.y)
    wrong = {int(row) for row in np.flatnonzero(changed)}
    caught = wrong & {each.row for each in found}
    assert len(caught) / len(wrong) >= 0.8
    assert len(caught) / len(found) >= 0.95
    best = {each.row for each in found[: len(wrong) // 2]}
    assert len(best & wrong) / len(best) >= 0.95


def test_clean_labels_are_hardly_suspected() -> None:
    X, labels, _ = noisy(3, 0.0)
    rows = Labelled.of(X, labels)
    choice = tune(rows, Recipe(), "logistic")
    assert len(suspects(probabilities(choice.logits), rows.y)) <= 0.01 * len(labels)


def test_the_published_example_is_followed() -> None:
    """An image counts for the most probable class of those whose mean self-confidence it reaches."""
    told = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [np.nan, np.nan]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert thresholds(told[:5], labels[:5]) == pytest.approx([0.6, 0.75])
    (only,) = suspects(told, labels)
    assert (only.row, only.given, only.likely) == (2, 0, 1)
    assert only.margin == pytest.approx(0.6)


def test_without_out_of_fold_answers_nothing_is_suspected() -> None:
    assert suspects(np.full((4, 2), np.nan), np.array([0, 1, 0, 1])) == []


def test_every_kind_has_answers_to_judge_by() -> None:
    X, labels, changed = noisy(2, 0.1)
    rows = Labelled.of(X, labels)
    for kind in KINDS:
        choice = tune(rows, Recipe(kind=kind), kind)  # type: ignore[arg-type]
        found = {each.row for each in suspects(probabilities(choice.logits / choice.temperature), rows.y)}
        assert len(found & set(np.flatnonzero(changed).tolist())) / changed.sum() >= 0.7, kind


def test_half_of_the_changed_labels_of_images_with_several_are_found_and_hardly_another() -> None:
    """Each of four labels is on three of ten images, and many of these are near its border."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 32)).astype(np.float32)
    scores = X @ rng.normal(size=(32, 4))
    truth = scores > np.quantile(scores, 0.7, axis=0)
    changed = rng.random(truth.shape) < 0.04
    rows = Labelled.of(X, truth ^ changed)
    choice = tune(rows, Recipe(), "logistic")
    found = suspects(probabilities(choice.logits / choice.temperature, multi_label=True), rows.y)
    named = {(each.row, each.label) for each in found}
    planted = {(row, label) for row, label in np.argwhere(changed).tolist()}
    assert len(named & planted) / len(planted) >= 0.5
    assert len(named & planted) / len(named) >= 0.95
    assert [each.margin for each in found] == sorted((each.margin for each in found), reverse=True)
    assert all(rows.y[each.row, each.label] == each.given != each.likely for each in found)
