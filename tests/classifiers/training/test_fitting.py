"""Kinds, and the classifier that scikit-learn's own checks accept."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from classifiers import HeadClassifier, fit_head
from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS, Rows, Setting, logistic
from classifiers.layers import Standardise
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.tuning import Choice, tune
from extractor.cli import fitting as fitting_options
from extractor.errors import InvalidArgument
from tests.classifiers.training.clouds import clouds, rare

SINGLE = list(KINDS)


def fitted(kind: str, X, y, setting: Setting, weights=None):
    """The layer of a kind on standardised rows, and these."""
    labelled = Labelled.of(X, y, weights=weights)
    scaled = Standardise.fit(labelled.X)(labelled.X)
    rows = Rows(scaled, labelled.y, labelled.weights, len(labelled.classes))
    return KINDS[kind].fitter(rows, True)(setting), scaled, labelled.y


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scale", ["standardise", "normalise"])
@pytest.mark.parametrize("kind", SINGLE)
def test_every_kind_learns_and_gives_probabilities(kind, scale, k) -> None:
    X, y = clouds(k=k, apart=1.5)
    head = fit_head(X[::2], y[::2], kind=kind, scale=scale)
    probabilities = head.predict_proba(X[1::2])
    assert probabilities.shape == (len(X) // 2, k)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(head.classes_[probabilities.argmax(axis=1)], head.predict(X[1::2]))
    assert head.score(X[1::2], y[1::2]) > 0.75


@pytest.mark.parametrize("kind", [kind for kind in SINGLE if not KINDS[kind].calibrated])
def test_probabilities_are_no_bluff(kind) -> None:
    """On rows that it has not seen they are about as good as those of logistic regression."""
    X, y = clouds(n=200, apart=0.5)
    losses = [
        log_loss(y[1::2], fit_head(X[::2], y[::2], kind=each).predict_proba(X[1::2]))
        for each in ("logistic", kind)
    ]
    assert losses[1] < 1.25 * losses[0] < np.log(3)


@pytest.mark.parametrize("kind", SINGLE)
def test_the_same_seed_gives_the_same_head(kind) -> None:
    X, y = clouds(n=30)
    one, other = (fit_head(X, y, kind=kind, seed=3).model_.arrays() for _ in range(2))
    assert all(np.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_the_linear_machine_is_that_of_liblinear() -> None:
    X, y = clouds(k=3)
    strength = 0.05
    layer, scaled, places = fitted("linear-svm", X, y, Setting(strength=strength))
    # one half |w|^2 + C sum(loss) is ours with C = 1 / (strength n); a large scaling frees the intercept
    judge = LinearSVC(C=1 / (strength * len(X)), tol=1e-8, max_iter=100_000, intercept_scaling=100)
    judge.fit(scaled, places)
    assert np.allclose(layer.scores(scaled), judge.decision_function(scaled), atol=5e-3)


@pytest.mark.parametrize("dim", [20, 400])
def test_ridge_is_that_of_scikit_learn(dim) -> None:
    """With more rows than columns, and with fewer."""
    X, y = clouds(k=3, dim=dim)
    layer, scaled, places = fitted("ridge", X, y, Setting(strength=0.2))
    judge = RidgeClassifier(alpha=0.2 * len(X)).fit(scaled, places)
    assert np.allclose(layer.scores(scaled), judge.decision_function(scaled), atol=1e-4)


def test_the_kernel_machine_is_that_of_libsvm() -> None:
    X, y = clouds(k=2)
    layer, scaled, places = fitted("rbf-svm", X, y, Setting(strength=1.0, gamma=1.0))
    judge = SVC(C=1.0, gamma=layer.gamma).fit(scaled, places)
    scores = layer.scores(scaled)
    assert np.allclose(scores[:, 1] - scores[:, 0], judge.decision_function(scaled), atol=5e-3)


@pytest.mark.parametrize("kind", [kind for kind in SINGLE if kind not in ("knn", "mlp")])
def test_a_weight_of_two_counts_as_two_rows_do(kind) -> None:
    X, y = clouds(n=20, k=2)
    twice = np.arange(len(X)) % 3 == 0
    setting = KINDS[kind].default
    rows = np.concatenate([np.arange(len(X)), np.flatnonzero(twice)])
    weighted, _ = fit(Labelled.of(X, y, weights=1 + twice), Recipe(kind), Choice(kind, setting))
    if kind == "rbf-svm":  # libsvm's C is not divided by the rows
        pytest.skip("its weights are relative to the mean row")
    doubled, _ = fit(Labelled.of(X[rows], y[rows]), Recipe(kind), Choice(kind, setting))
    assert np.allclose(weighted.scores(X), doubled.scores(X), atol=0.02)


@pytest.mark.parametrize("kind", ["ridge", "linear-svm", "logistic"])
def test_rows_without_weight_are_as_if_they_were_not_there(kind) -> None:
    X, y = clouds(n=80, k=2)
    counted = np.arange(len(X)) % 4 == 0
    weighted = HeadClassifier(kind).fit(X, y, sample_weight=counted.astype(float))
    alone = HeadClassifier(kind).fit(X[counted], y[counted])
    assert weighted.choice_.setting == alone.choice_.setting
    assert np.allclose(weighted.decision_function(X), alone.decision_function(X), atol=1e-3)


def test_strength_means_the_same_for_more_rows() -> None:
    """Every row twice over gives the same solution: C alone would not."""
    X, y = clouds()
    choice = Choice("logistic", Setting(strength=0.1))
    one, _ = fit(Labelled.of(X, y), Recipe(), choice)
    twice, _ = fit(Labelled.of(np.tile(X, (2, 1)), np.tile(y, 2)), Recipe(), choice)
    assert np.allclose(one.layer.weights, twice.layer.weights, atol=1e-3)


def test_a_small_class_beside_large_ones_keeps_its_probability() -> None:
    X, y = clouds(k=2)
    X, y = np.vstack([X, np.full((1, X.shape[1]), 50)]), [*y, "rare"]
    head = fit_head(X, y)
    assert head.choice_.folds == 5
    assert head.predict(X[-1:]).tolist() == ["rare"]


def test_a_fit_that_was_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "THOROUGH", (1, 1e-9))
    X, y = clouds()
    assert fit(Labelled.of(X, y), Recipe(), Choice("logistic", Setting(strength=1e-3)))[1] is False
    with pytest.warns(ConvergenceWarning, match="before it converged"):
        fit_head(X, y)


def test_columns_that_never_change_do_no_harm() -> None:
    X, y = clouds()
    still = np.hstack([X, np.full((len(X), 3), 7)])
    assert fit_head(still, y).score(still, y) > 0.8


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.eye(3), ["a", "b"], "X has 3 rows, and there are labels for 2"),
        (np.ones(3), ["a", "b", "c"], "must be a matrix"),
        ([[1.0], [np.nan], [np.inf]], ["a", "b", "b"], "2 rows of X, the first is row 1"),
        (np.eye(3), ["a", "a", "a"], "two classes; here there is 1 class only, 'a'"),
        (np.empty((0, 3)), [], "two classes; here there is none"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(X, y, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Labelled.of(X, y)


@pytest.mark.parametrize("wrong", [{"kind": "forest"}, {"scale": "log"}])
def test_a_recipe_that_does_not_exist_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong.values()))):
        fit_head(np.eye(2), ["a", "b"], **wrong)


def test_few_images_get_a_sensible_penalty() -> None:
    """A dozen crops of three textures: columns that hardly vary are not blown up, ties go to common use."""
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 9)
    X = rng.normal(size=(27, 60)) * np.repeat([1, 1e-3, 0], 20) + 3 * np.eye(3).repeat(9, 0) @ np.eye(3, 60)
    for kind in ("logistic", "linear-svm"):
        head = fit_head(X, y, kind=kind)
        assert head.predict_proba(X).max(axis=1).min() > 0.6
        assert (head.predict(X) == y).all()


# Imbalance, several labels, and the choice of the kind.


def test_balanced_classes_are_recalled_alike() -> None:
    X, y = rare()
    recalls = [
        (HeadClassifier(class_weight=weight).fit(X, y).predict(X)[y == "rare"] == "rare").mean()
        for weight in (None, "balanced", {"rare": 19})
    ]
    assert recalls[0] < 0.5 < recalls[1]
    assert recalls[2] == pytest.approx(recalls[1], abs=0.2)


@pytest.mark.parametrize("kind", ["logistic", "ridge", "linear-svm", "rbf-svm", "mlp"])
def test_an_image_may_have_several_labels(kind) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12)).astype(np.float32)
    y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 2] > 1])
    labelled = Labelled.of(X, y, classes=["cat", "dog", "bird"])
    choice = tune(labelled.take(np.arange(200)), Recipe(kind), kind)
    model, _ = fit(labelled.take(np.arange(200)), Recipe(kind), choice)
    assert ((model.probabilities(X[200:]) > 0.5) == y[200:]).mean() > 0.8


@pytest.mark.parametrize("kind", ["knn", "nearest-mean"])
def test_a_kind_that_gives_one_label_says_so(kind) -> None:
    labelled = Labelled.of(np.eye(4), np.eye(4, dtype=bool))
    with pytest.raises(InvalidArgument, match=f"{kind} gives one label"):
        fit(labelled, Recipe(kind), Choice(kind, KINDS[kind].default))


def test_more_rows_than_pairs_can_be_compared_of_are_refused() -> None:
    X, y = np.zeros((10_001, 2), np.float32), np.arange(10_001) % 2
    with pytest.raises(InvalidArgument, match=r"at most 10,000; here are 10,001: choose logistic"):
        fit(Labelled.of(X, y), Recipe("rbf-svm"), Choice("rbf-svm", KINDS["rbf-svm"].default))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weights": [1, -1, 1]}, "none of them below zero"),
        ({"weights": [1, 2]}, "3 numbers, one for each row"),
        ({"class_weight": {"x": 2}}, "'x', which is none of the classes a, b"),
        ({"classes": ["a", "c"]}, "the label 'b' is none of the classes a, c"),
    ],
)
def test_weights_and_classes_that_do_not_fit_are_refused(options, says) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Labelled.of(np.eye(3), ["a", "b", "a"], **options)


def test_the_command_line_offers_every_kind() -> None:
    assert sorted(fitting_options.KINDS) == sorted([*KINDS, "auto"])


CHOSEN_BY_FOLDS = """\
The setting is chosen by cross-validation, where a row of weight two is in one fold, and two rows in two.
The check passes estimators that choose for themselves only by dealing the folds itself, and wants 1e-7, which
is how float32 rounds. That weights count as rows do is in `test_a_weight_of_two_counts_as_two_rows_do`."""
IN_FLOAT32 = """\
Embeddings and heads are float32, where BLAS rounds one row alone otherwise than among others, by more than
the 1e-7 that the check allows: see `test_a_row_is_scored_alone_as_among_others`."""
NO_CLASS_WEIGHT = "The mean of a class, and who is near, are what they are whatever the class weighs."


def expected_failures(classifier: HeadClassifier) -> dict[str, str]:
    failures = {
        "check_sample_weight_equivalence_on_dense_data": CHOSEN_BY_FOLDS,
        "check_methods_subset_invariance": IN_FLOAT32,
    }
    if classifier.kind in ("nearest-mean", "knn"):
        failures["check_class_weight_classifiers"] = NO_CLASS_WEIGHT
    return failures


@pytest.mark.parametrize("kind", SINGLE)
def test_a_row_is_scored_alone_as_among_others(kind) -> None:
    X, y = clouds(n=20)
    head = fit_head(X, y, kind=kind)
    alone = np.concatenate([head.decision_function(X[place : place + 1]) for place in range(len(X))])
    assert np.allclose(alone, head.decision_function(X), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@parametrize_with_checks(
    [HeadClassifier(kind=kind) for kind in ("mlp", "auto")], expected_failed_checks=expected_failures
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_what_takes_longer_to_fit(estimator, check) -> None:
    check(estimator)


@parametrize_with_checks(
    [HeadClassifier(kind=kind) for kind in SINGLE if kind != "mlp"],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_the_classifier(estimator, check) -> None:
    check(estimator)
