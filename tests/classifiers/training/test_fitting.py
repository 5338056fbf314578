"""Kinds, their settings, and the classifier that scikit-learn's own checks accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from classifiers import HeadClassifier, fit_head
from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS, Rows, Setting, logistic
from classifiers.kinds.base import decades
from classifiers.layers import Standardise
from classifiers.training import selection, tuning
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice, tune
from extractor.cli import fitting as fitting_options
from extractor.errors import InvalidArgument

SINGLE = list(KINDS)


def clouds(n: int = 60, k: int = 3, dim: int = 20, apart: float = 1.0, seed: int = 0):
    """Classes that overlap: `n` rows each around a centre of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, apart, (k, dim))
    X = np.concatenate([rng.normal(centre, 2, (n, dim)) for centre in centres]).astype(np.float32)
    return X, np.repeat([f"class {i}" for i in range(k)], n)


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


def test_the_chosen_penalty_does_as_well_as_a_grid_search() -> None:
    X, y = clouds(n=100, apart=0.4, dim=60)
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=1000))])
    grid = GridSearchCV(pipeline, {"classify__C": np.logspace(-5, 3, 17)}, scoring="neg_log_loss", cv=5)
    best = -grid.fit(X, y).best_score_
    chosen = tune(Labelled.of(X, y), Recipe(), "logistic")
    assert min(chosen.trials.values()) < best + 0.02
    assert tuning.log_loss(chosen.logits / chosen.temperature, np.repeat(range(3), 100)) < best + 0.02
    assert not chosen.at_edge


TRUTH = np.arange(400) % 2


def both(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits of two classes, from how far each row is on the right side."""
    scores = margins * np.where(TRUTH, 1, -1)
    return np.column_stack([-scores, scores])


def searched(settings: Mapping[float, NDArray[np.float64]], **labels: Any) -> tuning._Search:
    """What has tried these: logits by strength."""
    made = {Setting(strength=strength): logits for strength, logits in settings.items()}
    part = SimpleNamespace(places=np.arange(400), logits=made.__getitem__)
    labelled = Labelled.of(np.zeros((400, 1)), TRUTH, **labels)
    with ThreadPoolExecutor(1) as pool:
        search = tuning._Search(labelled, np.zeros(400, int), [part], pool, KINDS["logistic"])
        for setting in made:
            search(setting)
    return search


def test_the_setting_with_the_smallest_loss_is_taken_unless_it_is_less_often_right() -> None:
    margin = np.where(np.arange(400) < 300, 1.0, -1.0)
    sure, unsure = both(2 * margin), both(0.5 * margin)
    assert searched({0.1: sure, 1.0: unsure}).best() == Setting(strength=1.0)
    more_right = both(2 * np.where(np.arange(400) < 340, 1.0, -1.0))
    assert tuning.log_loss(more_right, TRUTH) > tuning.log_loss(unsure, TRUTH)
    assert searched({0.1: more_right, 1.0: unsure}).best() == Setting(strength=0.1)


def test_the_odds_of_a_setting_fall_with_the_standard_errors_it_is_behind() -> None:
    """Sixteen answers changed, ten for the worse: four behind, of a deviation of four."""
    first, second = np.ones(400), np.ones(400)
    first[:100], second[:100] = -1, -1
    second[:6], second[200:210] = 1, -1
    search = searched({0.1: both(first), 0.3: both(second), 1.0: both(0.9 * first)})
    odds = search.odds()
    assert search.best().strength in {0.1, 1.0}
    assert odds[search.best()] == 1
    assert odds[Setting(strength=0.3)] == pytest.approx(np.exp(-4 / np.sqrt(16 - 4**2 / 400)))
    assert len(odds) == 2, "the same answers with other confidence say nothing of the strength"


def one_and_a_worse() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Margins: a hundred rows are wrong, and four more."""
    first = np.where(np.arange(400) < 100, -1.0, 1.0)
    return first, np.where((np.arange(400) >= 200) & (np.arange(400) < 204), -1.0, first)


def test_settings_with_the_same_answers_share_their_odds() -> None:
    """However many are tried of a plateau, it counts once."""
    first, second = one_and_a_worse()
    alone = searched({0.1: both(first), 0.3: both(second)}).odds()[Setting(strength=0.3)]
    odds = searched({0.1: both(first), 0.3: both(second), 0.2: both(0.99 * second)}).odds()
    assert odds[Setting(strength=0.3)] == odds[Setting(strength=0.2)] == alone / 2
    assert alone == pytest.approx(np.exp(-4 / np.sqrt(4 - 4**2 / 400)))


def test_rows_of_one_group_are_no_evidence_of_their_own() -> None:
    first, second = one_and_a_worse()
    odds = searched({0.1: both(first), 0.3: both(second)}, groups=np.arange(400) // 4).odds()
    assert odds[Setting(strength=0.3)] == pytest.approx(np.exp(-1 / np.sqrt(1 - 1 / 100)))


def test_rows_that_do_not_count_say_nothing_of_a_setting() -> None:
    first, second = np.ones(400), np.ones(400)
    first[100:200], second[100:200], second[:10] = -1, -1, -1
    weight = np.where(np.arange(400) < 10, 0.0, 1.0)
    search = searched({0.1: both(first), 0.3: both(second)}, weights=weight)
    assert search.odds() == {search.best(): 1.0}


def test_a_loss_that_is_least_at_the_edge_is_said() -> None:
    right, wrong = np.ones(400), np.where(np.arange(400) < 200, -1.0, 1.0)
    beyond = searched({100.0: both(right), 10.0: both(wrong), 1.0: both(wrong)})
    between = searched({100.0: both(wrong), 10.0: both(right), 1.0: both(wrong)})
    assert beyond.choice(beyond.best(), 5).at_edge
    assert not between.choice(between.best(), 5).at_edge


def test_each_setting_is_told_and_who_is_told_can_end_the_search() -> None:
    class Enough(Exception):
        pass

    def until_three(line: str) -> None:
        told.append(line)
        if len(told) == 3:
            raise Enough

    told: list[str] = []
    rows = Labelled.of(*clouds())
    with pytest.raises(Enough):
        choose(rows, Recipe(), tried=until_three)
    assert told[0].startswith("logistic regression, strength 100: log loss ")
    everything: list[str] = []
    choice = choose(rows, Recipe(), tried=everything.append)
    assert len(everything) == len(choice.trials)
    assert everything[:3] == told


@pytest.mark.parametrize(("kind", "falls"), [("ridge", True), ("logistic", True), ("rbf-svm", False)])
def test_a_fold_has_the_penalty_of_all_rows_beside_the_sum_of_its_losses(kind: Any, falls: bool) -> None:
    """Of their weights, where these differ; rbf-svm has no penalty beside a mean."""
    X, y = clouds()
    weights = np.linspace(1, 3, len(X))
    labelled, recipe = Labelled.of(X, y, weights=weights), Recipe(kind)
    held = np.arange(len(X)) % 4 == 0
    setting = Setting(strength=0.1, gamma=1.0)
    said = tuning._Fold(labelled, held, recipe, KINDS[kind]).logits(setting)
    share = weights[~held].sum() / weights.sum()
    own = setting._replace(strength=0.1 / share) if falls else setting
    model, _ = fit(labelled.take(~held), recipe, Choice(kind, own))
    assert said == pytest.approx(model.scores(labelled.X[held]), abs=0.02)
    assert (own != setting) == falls


def test_strength_means_the_same_for_more_rows() -> None:
    """Every row twice over gives the same solution: C alone would not."""
    X, y = clouds()
    choice = Choice("logistic", Setting(strength=0.1))
    one, _ = fit(Labelled.of(X, y), Recipe(), choice)
    twice, _ = fit(Labelled.of(np.tile(X, (2, 1)), np.tile(y, 2)), Recipe(), choice)
    assert np.allclose(one.layer.weights, twice.layer.weights, atol=1e-3)


class Curve:
    """A loss that is a function of the exponent of the strength; the least is the best."""

    def __init__(self, loss: Callable[[float], float]) -> None:
        self.loss = loss
        self.tried: dict[float, float] = {}

    def __call__(self, setting: Setting) -> float:
        exponent = round(np.log10(setting.strength), 2)
        self.tried[exponent] = self.loss(exponent)
        return self.tried[exponent]

    def best(self) -> Setting:
        return Setting(strength=10 ** min(self.tried, key=lambda exponent: self.tried[exponent]))

    def odds(self) -> dict[Setting, float]:
        return {self.best(): 1.0}


def test_the_search_goes_past_the_best_and_looks_around_it() -> None:
    valley = Curve(lambda exponent: (exponent + 1.4) ** 2)
    decades(valley, 2, -8, 0.1)
    assert list(valley.tried) == [2, 1, 0, -1, -2, -0.5, -1.5, -1.25, -1.75]


def test_the_search_goes_on_where_the_next_is_hardly_worse() -> None:
    flat = Curve(lambda exponent: 1 + (exponent + 1.4) ** 2 / 100)
    decades(flat, 2, -8, 0.1)
    assert list(flat.tried) == [2, 1, 0, -1, -2, -3, -0.5, -1.5, -1.25, -1.75]


def test_the_quarters_are_around_what_would_be_chosen() -> None:
    """Which is not that of the least loss where others are nearly as likely, and right more often."""

    class Chosen(Curve):
        def best(self) -> Setting:
            return Setting(strength=10**-0.5)

    curve = Chosen(lambda exponent: (exponent + 1.4) ** 2)
    assert decades(curve, 2, -8, 0.1) == curve.best()
    assert list(curve.tried)[-2:] == [-0.25, -0.75]


@pytest.mark.parametrize(("settled", "taken"), [(True, -0.67), (False, -1.5)])
def test_the_search_settles_between_those_that_may_be_best(settled: bool, taken: float) -> None:
    """In decades, weighted; on the best where what lies between them may not be the best itself."""

    class Doubtful(Curve):
        def odds(self) -> dict[Setting, float]:
            last = Setting(strength=10.0 ** list(self.tried)[-1])
            return {Setting(strength=0.1): 1.0, Setting(strength=1.0): 0.5} | ({last: 0.1} if settled else {})

    class Settled(Doubtful):
        def odds(self) -> dict[Setting, float]:
            odds = super().odds()
            return odds if -0.67 in self.tried else {key: odds[key] for key in list(odds)[:2]}

    curve = Settled(lambda exponent: (exponent + 1.5) ** 2)
    assert decades(curve, 2, -8, 0.1) == Setting(strength=10**taken)
    assert -0.67 in curve.tried


def test_nothing_is_tried_past_the_edge() -> None:
    """Or the warning that a better one may lie beyond would be lost."""
    falling = Curve(lambda exponent: 10.0**exponent)
    decades(falling, 2, -3, 0.1)
    assert list(falling.tried) == [2, 1, 0, -1, -2, -3, -2.5, -3.5]


def test_classes_with_one_row_are_fitted_with_the_default_setting() -> None:
    chosen = tune(Labelled.of(np.eye(3), ["a", "b", "c"]), Recipe(), "logistic")
    assert (chosen.setting, chosen.folds) == (Setting(strength=logistic.STRENGTH), 0)
    assert fit_head(np.eye(3), ["a", "b", "c"]).predict(np.eye(3)).tolist() == ["a", "b", "c"]


def test_a_small_class_beside_large_ones_keeps_its_probability() -> None:
    X, y = clouds(k=2)
    X, y = np.vstack([X, np.full((1, X.shape[1]), 50)]), [*y, "rare"]
    head = fit_head(X, y)
    assert head.choice_.folds == 5
    assert head.predict(X[-1:]).tolist() == ["rare"]


def test_many_rows_are_judged_on_one_held_out_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "HOLD_OUT_ABOVE", 100)
    assert tune(Labelled.of(*clouds()), Recipe(), "logistic").folds == 1


def test_groups_are_held_out_together() -> None:
    """Labels that are noise but for copies: seeing the copy would make them look learnt."""
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(60, 40)), 2, axis=0), np.repeat(rng.integers(0, 2, 60), 2)

    def smallest(groups):
        return min(tune(Labelled.of(X, y, groups=groups), Recipe(), "logistic").trials.values())

    assert smallest(None) < 0.6 < smallest(np.arange(120) // 2)


def test_what_was_said_of_held_out_rows_is_kept() -> None:
    """Of each row by a head that had not seen it: worse than by one that had."""
    X, y = clouds(n=40, apart=0.4, dim=60)
    labelled = Labelled.of(X, y)
    choice = tune(labelled, Recipe(), "logistic")
    assert choice.logits.shape == (120, 3)
    unseen = (choice.logits.argmax(axis=1) == labelled.y).mean()
    seen = (fit(labelled, Recipe(), choice)[0].scores(X).argmax(axis=1) == labelled.y).mean()
    assert 1 / 3 < unseen < seen


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


def rare(seed: int = 0):
    """One row in twenty is of the rare class, and hard to tell."""
    X, _ = clouds(n=400, k=1, dim=10, seed=seed)
    y = np.where(np.arange(400) % 20 == 0, "rare", "common")
    X[y == "rare"] += 0.9
    return X, y


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
