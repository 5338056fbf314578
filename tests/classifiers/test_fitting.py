from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from classifiers import fit_head, fitting, penalty
from classifiers.fitting import fit, softmax_layer
from classifiers.penalty import DEFAULT_STRENGTH, Penalty, Trial, choose_penalty
from classifiers.recipes import Effort, Recipe
from extractor.errors import InvalidArgument


def clouds(n: int = 60, k: int = 3, dim: int = 20, apart: float = 1.0, seed: int = 0):
    """Classes that overlap: `n` rows each around a centre of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, apart, (k, dim))
    X = np.concatenate([rng.normal(centre, 2, (n, dim)) for centre in centres]).astype(np.float32)
    return X, np.repeat([f"class {i}" for i in range(k)], n)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scale", ["standardise", "normalise"])
@pytest.mark.parametrize("kind", ["logistic", "linear-svm"])
def test_every_kind_learns_and_gives_probabilities(kind, scale, k) -> None:
    X, y = clouds(k=k, apart=1.5)
    head = fit_head(X[::2], y[::2], kind=kind, scale=scale)
    probabilities = head.predict_proba(X[1::2])
    assert probabilities.shape == (len(X) // 2, k)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(head.classes_[probabilities.argmax(axis=1)], head.predict(X[1::2]))
    assert head.score(X[1::2], y[1::2]) > 0.75


def test_probabilities_of_a_support_vector_machine_are_no_bluff() -> None:
    """On rows that it has not seen they are about as good as those of logistic regression."""
    X, y = clouds(n=200, apart=0.5)
    losses = [
        log_loss(y[1::2], fit_head(X[::2], y[::2], kind=kind).predict_proba(X[1::2]))
        for kind in ("logistic", "linear-svm")
    ]
    assert losses[1] < 1.1 * losses[0] < np.log(3)


def test_the_same_seed_gives_the_same_head() -> None:
    X, y = clouds()
    one, other = (fit_head(X, y, seed=3)["classify"] for _ in range(2))
    assert np.array_equal(one.coef_, other.coef_)
    assert np.array_equal(one.intercept_, other.intercept_)


def test_the_chosen_penalty_does_as_well_as_a_grid_search() -> None:
    X, y = clouds(n=100, apart=0.4, dim=60)
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=1000))])
    grid = GridSearchCV(pipeline, {"classify__C": np.logspace(-5, 3, 17)}, scoring="neg_log_loss", cv=5)
    best = -grid.fit(X, y).best_score_
    chosen = choose_penalty(X, y, Recipe())
    assert chosen.trials[chosen.strength].log_loss < best + 0.02
    assert not chosen.at_edge


def test_strength_means_the_same_for_more_rows() -> None:
    """Every row twice over gives the same solution: C alone would not."""
    X, y = clouds()
    one, _ = fit(X, y, Recipe(), Penalty(0.1))
    twice, _ = fit(np.tile(X, (2, 1)), np.tile(y, 2), Recipe(), Penalty(0.1))
    assert np.allclose(one["classify"].coef_, twice["classify"].coef_, atol=1e-3)


def test_the_search_goes_past_the_best_and_halves_around_it() -> None:
    tried = []

    def valley(strength: float) -> Trial:
        tried.append(round(np.log10(strength), 1))
        return Trial((np.log10(strength) + 1.4) ** 2, 1)

    trials = penalty._search(valley)
    assert tried == [2, 1, 0, -1, -2, -3, -0.5, -1.5]
    assert min(trials, key=lambda strength: trials[strength].log_loss) == pytest.approx(10**-1.5)


def test_classes_with_one_row_are_fitted_with_the_default_penalty() -> None:
    chosen = choose_penalty(np.eye(3), ["a", "b", "c"], Recipe())
    assert (chosen.strength, chosen.folds) == (DEFAULT_STRENGTH, 0)
    assert fit_head(np.eye(3), ["a", "b", "c"]).predict(np.eye(3)).tolist() == ["a", "b", "c"]


def test_a_small_class_beside_large_ones_keeps_its_probability() -> None:
    X, y = clouds(k=2)
    X, y = np.vstack([X, np.full((1, X.shape[1]), 50)]), [*y, "rare"]
    head = fit_head(X, y)
    assert choose_penalty(X, y, Recipe()).folds == 5
    assert head.predict(X[-1:]).tolist() == ["rare"]


def test_many_rows_are_judged_on_one_held_out_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalty, "HOLD_OUT_ABOVE", 100)
    assert choose_penalty(*clouds(), Recipe()).folds == 1


def test_groups_are_held_out_together() -> None:
    """Labels that are noise but for copies: seeing the copy would make them look learnt."""
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(60, 40)), 2, axis=0), np.repeat(rng.integers(0, 2, 60), 2)

    def smallest(groups):
        chosen = choose_penalty(X, y, Recipe(), groups)
        return chosen.trials[chosen.strength].log_loss

    assert smallest(None) < 0.6 < smallest(np.arange(120) // 2)


def test_a_fit_that_was_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "EFFORT", {"logistic": Effort(1, 1e-4)})
    X, y = clouds()
    assert fit(X, y, Recipe(), Penalty(1e-3))[1] is False
    with pytest.warns(ConvergenceWarning, match="before it converged"):
        fit_head(X, y)


def test_columns_that_never_change_do_no_harm() -> None:
    X, y = clouds()
    assert (
        fit_head(np.hstack([X, np.full((len(X), 3), 7)]), y).score(np.hstack([X, np.full((len(X), 3), 7)]), y)
        > 0.8
    )


def test_a_softmax_layer_is_a_softmax_layer() -> None:
    rng = np.random.default_rng(0)
    X, W, b = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    powers = np.exp(X @ W.T + b)
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert np.allclose(softmax_layer(W, b, ["a", "b", "c"]).predict_proba(X), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (np.eye(3), ["a", "b"], r"\(3, 3\) and \(2,\)"),
        (np.ones(3), ["a", "b", "c"], "must be a matrix"),
        ([[1.0], [np.nan], [np.inf]], ["a", "b", "b"], "2 rows of X, the first is row 1"),
        (np.eye(3), ["a", "a", "a"], "two classes; here there is only 'a'"),
        (np.empty((0, 3)), [], "here there is only none"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(X, y, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        fit_head(X, y)


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
