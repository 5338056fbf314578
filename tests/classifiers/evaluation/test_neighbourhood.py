from __future__ import annotations

import numpy as np

from classifiers.evaluation import neighbourhood as module
from classifiers.evaluation.neighbourhood import neighbourhood


def test_planted_copies_and_strangers_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=64) * 3 + rng.normal(size=(300, 64))).astype(np.float32)
    X[10] = X[200] * 1.5
    X[11] = X[201] + 0.02 * rng.normal(size=64)
    X[12] = X[13] = X[200]
    X[50] = -X[50]
    found = neighbourhood(X)
    assert {frozenset(group) for group in found.groups} == {
        frozenset({10, 12, 13, 200}),
        frozenset({11, 201}),
    }
    assert found.unusual[0].row == 50
    assert found.unusual[0].distance > 5 * found.median
    assert found.compared == 300


def test_rows_of_no_length_are_passed_over() -> None:
    X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    X[2] = 0
    assert neighbourhood(X).compared == 4
    assert neighbourhood(np.zeros((3, 4), np.float32)).compared == 0


def test_of_many_rows_some_are_compared_and_that_is_said(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST", 50)
    X = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    found = neighbourhood(X)
    assert found.compared == 50
    assert max(each.row for each in found.unusual) > 50
