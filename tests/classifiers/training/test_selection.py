"""Which kind is taken where cross-validation decides."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers import HeadClassifier
from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS
from classifiers.training import selection
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice
from tests.classifiers.training.clouds import clouds, rare


def test_auto_takes_what_tells_the_classes_apart() -> None:
    """A ring around a blob: no line parts them."""
    rng = np.random.default_rng(0)
    angle, y = rng.uniform(0, 2 * np.pi, 300), np.repeat(["blob", "ring"], 150)
    radius = np.where(y == "ring", 3, 0) + rng.normal(0, 0.4, 300)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    notes: list[str] = []
    choice = choose(Labelled.of(X, y), Recipe("auto"), notes.append)
    assert choice.kind in ("knn", "rbf-svm")
    assert any(line.startswith("logistic regression: ") for line in notes)


def test_auto_weighs_the_rows_as_the_fit_does() -> None:
    """That nearly all rows are common is no reason to answer so, when both classes count the same."""
    X, y = rare()
    head = HeadClassifier("auto", class_weight="balanced").fit(X, y)
    assert head.choice_.kind != "knn"
    assert (head.predict(X)[y == "rare"] == "rare").mean() > 0.5


def test_auto_takes_the_simpler_where_there_is_no_difference() -> None:
    X, y = clouds(n=30, k=2, apart=5)
    assert choose(Labelled.of(X, y), Recipe("auto")).kind == "logistic"


@pytest.mark.parametrize(
    ("rights", "taken", "why"),
    [
        ({"logistic": (0, 60), "ridge": (0, 80), "linear-svm": (0, 78)}, "ridge", "is taken: the most"),
        (
            {"logistic": (0, 77), "ridge": (0, 80), "linear-svm": (0, 79)},
            "ridge",
            "is taken: the most; no kind that is simpler still comes within one standard error of it",
        ),
        (
            {"logistic": (0, 80), "ridge": (0, 80), "linear-svm": (0, 79), "mlp": (0, 80)},
            "logistic",
            "is taken: as many as with ridge regression, perceptron with a hidden layer of 256, and",
        ),
        (
            {"logistic": (0, 70), "ridge": (0, 80), "linear-svm": (10, 91)},
            "ridge",
            "is taken: the simplest that is not worse than linear support vector machine by more",
        ),
    ],
)
def test_auto_takes_the_simplest_within_one_standard_error_of_the_most_right(
    monkeypatch: pytest.MonkeyPatch, rights: dict[str, tuple[int, int]], taken: str, why: str
) -> None:
    """Each is right in a span of 100 rows; what only one of two has says how sure their difference is."""
    X, y = np.zeros((100, 2), np.float32), np.arange(100) % 2

    def answers(labelled: Labelled, _recipe: Recipe, kind: str, _tried: object) -> Choice:
        first, last = rights.get(kind, (0, 10))
        right = (np.arange(100) >= first) & (np.arange(100) < last)
        said = np.where(right, labelled.y, 1 - labelled.y)
        return Choice(kind, KINDS[kind].default, folds=5, logits=np.eye(2)[said])

    monkeypatch.setattr(selection, "tune", answers)
    notes: list[str] = []
    assert choose(Labelled.of(X, y), Recipe("auto"), notes.append).kind == taken
    assert f"{KINDS[taken].title} {why}" in notes[-1]
    assert notes[0] == "nearest class mean: not tried, every class has 5 images or more to choose by"


def test_auto_says_nothing_of_held_out_rows_where_there_are_none() -> None:
    X, y = np.eye(3, dtype=np.float32), np.array(["a", "b", "c"])
    notes: list[str] = []
    assert choose(Labelled.of(X, y), Recipe("auto"), notes.append).folds == 0
    assert [line for line in notes if "held-out rows" in line] == []
    assert "there are too few images to hold any out" in notes[-1]
