"""What a head says of rows, against the slow and obvious reading of its probabilities and distances."""

from __future__ import annotations

import re

import numpy as np
import pytest

from classifiers.distribution.gaussian import Gaussian
from classifiers.distribution.rejection import Measured, Rejection
from classifiers.heads import Classification, Head, HeadManifest
from classifiers.layers import Linear, Model, Standardise
from extractor.errors import InvalidArgument

DIM, CLASSES = 24, 7


def head(multi_label: bool = False, thresholds: list[float] | None = None) -> Head:
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(CLASSES, DIM)), rng.normal(size=CLASSES)
    weights[3], bias[3] = weights[5], bias[5]  # always as probable as each other
    scaling = Standardise(*rng.uniform(0.5, 2, (2, DIM)).astype(np.float32))
    model = Model(
        scaling, Linear(weights.astype(np.float32), bias.astype(np.float32)), 1.7, multi_label=multi_label
    )
    manifest = HeadManifest(
        name="seven",
        kind="logistic",
        classes=[f"class {place}" for place in range(CLASSES)],
        fingerprint="f" * 64,
        backbone="none",
        dim=DIM,
        thresholds=thresholds or [],
    )
    known = rng.normal(size=(200, DIM)).astype(np.float32)
    gaussian = Gaussian.fit(known, np.arange(200) % CLASSES, np.ones(200))
    rejection = Rejection(gaussian, np.ones(1), Measured("mahalanobis", 1.1, 0.05, 200, {}))
    return Head(manifest, model, None, rejection)


def obvious(judge: Head, row: np.ndarray, top: int) -> Classification:
    model, classes = judge.model, judge.manifest.classes
    assert isinstance(model.scaling, Standardise)
    assert isinstance(model.layer, Linear)
    scaled = (row.astype(np.float64) - model.scaling.mean) / model.scaling.scale
    logits = (model.layer.weights.astype(np.float64) @ scaled + model.layer.bias) / model.temperature
    if model.multi_label:
        shares = 1 / (1 + np.exp(-logits))
        labels = [
            classes[at] for at in range(CLASSES) if shares[at] >= (judge.manifest.thresholds or [0.5] * 7)[at]
        ]
    else:
        shares = np.exp(logits) / np.exp(logits).sum()
        labels = [classes[int(np.argmax(shares))]]
    assert judge.rejection
    score = float(judge.rejection.distances(row[None])[0])
    unknown = score > judge.rejection.threshold
    order = sorted(range(CLASSES), key=lambda at: (-round(shares[at], 9), at))[:top]
    answers = [judge._answer(at, float(shares[at])) for at in order]
    return Classification(answers, [] if unknown else labels, unknown, score)


@pytest.mark.parametrize("top", [1, 5, 100])
@pytest.mark.parametrize(
    ("multi_label", "thresholds"), [(False, None), (True, None), (True, [0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.4])]
)
def test_each_row_is_judged_as_if_it_were_alone(
    top: int, multi_label: bool, thresholds: list[float] | None
) -> None:
    """Classes that are as probable as each other come in their order."""
    judge = head(multi_label, thresholds)
    X = np.random.default_rng(1).normal(0, 1.3, (60, DIM)).astype(np.float32)
    found = judge.judge(X, top)
    assert {each.unknown for each in found} == {True, False}
    for row, each in zip(X, found, strict=True):
        expected = obvious(judge, row, top)
        assert [answer.label for answer in each.answers] == [answer.label for answer in expected.answers]
        assert [answer.probability for answer in each.answers] == pytest.approx(
            [answer.probability for answer in expected.answers], abs=1e-5
        )
        assert (each.labels, each.unknown) == (expected.labels, expected.unknown)
        assert each.score == pytest.approx(expected.score)


def test_probabilities_of_extreme_scores_are_numbers() -> None:
    """Neither a softmax nor a sigmoid overflows, and nothing is warned of."""
    X = np.random.default_rng(2).normal(size=(20, DIM)).astype(np.float32) * 1e6
    with np.errstate(all="raise", under="ignore"):
        single, several = head().predict_proba(X), head(multi_label=True).predict_proba(X)
    assert np.isfinite(single).all()
    assert single.sum(axis=1) == pytest.approx(1)
    assert set(np.unique(several.round(9))) == {0.0, 1.0}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda X: np.where(np.arange(DIM) == 3, np.nan, X),
            "rows of X, the first is row 0, have values that",
        ),
        (lambda X: np.where(np.arange(DIM) == 3, np.inf, X), "not finite"),
        (lambda X: X[:, 1:], f"the rows of X have {DIM - 1} numbers, and the head takes {DIM}"),
        (lambda X: X[0], "X must be a matrix, one embedding for each row; its shape is"),
        (lambda X: [f"{row}.png" for row in range(len(X))], "X must be a matrix of numbers"),
    ],
)
def test_rows_that_are_no_embeddings_of_its_backbone_are_refused(count: int, spoil, says: str) -> None:
    X = spoil(np.ones((count, DIM), np.float32))
    for ask in (head().predict, head().predict_proba, head().judge):
        with pytest.raises(InvalidArgument, match=re.escape(says)):
            ask(X)
