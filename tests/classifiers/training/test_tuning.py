"""The settings that are tried, and which of them is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from classifiers import fit_head
from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS, Setting, logistic
from classifiers.kinds.base import decades
from classifiers.training import tuning
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice, tune
from tests.classifiers.training.clouds import clouds


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
