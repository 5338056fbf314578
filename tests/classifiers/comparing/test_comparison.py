"""The same head on the same folds: who is better, by how much, and what chance may do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import Recipe
from classifiers.comparing import comparison
from classifiers.comparing import report as comparison_report
from classifiers.comparing.comparison import (
    MAJORITY,
    Comparison,
    Entrant,
    accuracy_interval,
    aligned,
    compare,
    majority_answers,
    out_of_fold,
    weight_of,
)
from classifiers.data.dataset import Rejected
from classifiers.data.features import Features
from classifiers.data.splits import folds
from classifiers.data.targets import Labelled
from classifiers.evaluation.evaluate import wilson_interval
from classifiers.evaluation.paired import difference
from classifiers.training.fitting import fit
from classifiers.training.selection import choose
from extractor.errors import InvalidArgument

N, FOLDS = 100, 5
RNG = np.random.default_rng


def features(X: np.ndarray, y: np.ndarray, names: list[str] | None = None) -> Features:
    """Of pictures that are called by their number, and whose digests are their names."""
    names = names or [f"{row:03}.png" for row in range(len(y))]
    return Features(X.astype(np.float32), y.astype(str), np.array(names), names, "f" * 64, [])


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return np.array(["cat", "dog"] * (N // 2))


def signal(y: np.ndarray, strength: float, seed: int, dim: int = 10) -> Features:
    """Embeddings whose classes lie `strength` deviations apart; 0 is noise."""
    shift = np.where(y == "cat", 0.5, -0.5)[:, None] * strength / sqrt(dim)
    return features(RNG(seed).normal(size=(len(y), dim)) + shift, y)


@pytest.fixture(scope="module")
def compared(y: np.ndarray) -> Comparison:
    """A baseline that tells the classes well apart; backbones that do so better, as well, and not at all."""
    return compare(
        [
            Entrant("colours", signal(y, 2, seed=1), baseline=True),
            Entrant("clear", signal(y, 9, seed=2), images_per_second=1234.5, bundle_bytes=18_800_000),
            Entrant("same", signal(y, 2, seed=1)),
            Entrant("noise", signal(y, 0, seed=3)),
        ]
    )


def test_the_most_accurate_comes_first_and_chance_comes_last(compared: Comparison) -> None:
    """Of two that are equally accurate, by name."""
    assert [row.name for row in compared.rows[:3]] == ["clear", "colours", "same"]
    assert {row.name for row in compared.rows[3:]} == {"noise", MAJORITY}
    assert [row.mark for row in compared.rows] == ["best", "", "", "", ""]
    assert compared.rows[0].metrics.accuracy == 1
    assert abs(compared.rows[1].metrics.accuracy - 0.84) < 0.1  # within a deviation of a normal


def test_negative_transfer_is_what_does_not_beat_the_best_baseline(compared: Comparison) -> None:
    """As well is not better; a baseline transfers nothing."""
    verdict = {row.name: row.negative_transfer for row in compared.rows}
    assert verdict == {"clear": False, "same": True, "noise": True, "colours": False, MAJORITY: False}
    gains = {row.name: row.gain for row in compared.rows}
    assert gains["colours"] is gains[MAJORITY] is None
    assert gains["same"].share == 0
    assert gains["noise"].interval[1] < 0 < gains["clear"].interval[0]


def test_the_bar_is_the_majority_class_where_colours_say_nothing(y: np.ndarray) -> None:
    """A head on noise answers worse than always "dog", and noise of a backbone does not beat that."""
    y = np.where(np.arange(N) < 20, "dog", y)
    colours, noise = (signal(y, 0, seed, dim=40) for seed in (3, 4))
    done = compare([Entrant("colours", colours, baseline=True), Entrant("noise", noise)])
    assert done.best_baseline.name == MAJORITY
    assert done.best_baseline.metrics.accuracy == np.mean(y == "dog")
    assert [row.name for row in done.rows if row.negative_transfer] == ["noise"]


def test_those_who_may_be_as_accurate_as_the_best_are_marked(y: np.ndarray) -> None:
    """All but the one that is surely worse."""
    done = compare(
        [Entrant("a", signal(y, 4, 1)), Entrant("b", signal(y, 4, 2)), Entrant("c", signal(y, 0, 3), True)]
    )
    marks = {row.name: row.mark for row in done.rows}
    assert sorted((marks["a"], marks["b"])) == ["alike", "best"]
    assert (marks["c"], marks[MAJORITY]) == ("", "")


def test_no_head_sees_the_fold_that_it_answers(y: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when it is fitted nor when its setting is chosen."""
    X = signal(y, 1, seed=1)
    held = folds(y, X.digests, 0, FOLDS)
    seen: list[tuple[str, set[float]]] = []

    def watch(name: str, original: Callable[..., object]) -> None:
        def watched(rows: Labelled, *rest: object) -> object:
            seen.append((name, set(rows.X[:, 0].tolist())))
            return original(rows, *rest)

        monkeypatch.setattr(comparison, name, watched)

    watch("choose", choose)
    watch("fit", fit)
    answers, converged = out_of_fold(X, held, Recipe())
    expected = [set(X.X[held != fold, 0].tolist()) for fold in range(FOLDS)]
    assert seen == [(name, rows) for rows in expected for name in ("choose", "fit")]
    assert converged
    assert set(answers) == {"cat", "dog"}


def test_labels_by_lot_are_answered_by_chance() -> None:
    """Though there are more columns than pictures, and every training part is parted without error."""
    y = RNG(5).permutation(["cat", "dog"] * (N // 2))
    (row, _) = compare([Entrant("lot", signal(y, 0, seed=6, dim=300), baseline=True)]).rows
    low, high = row.metrics.interval
    assert low < 0.5 < high


def test_a_picture_counts_once_however_many_copies_there_are() -> None:
    """With a copy of each on the other side, even labels by lot would be known."""
    y = np.repeat(RNG(5).permutation(["cat", "dog"] * (N // 4)), 2)
    X = np.repeat(RNG(6).normal(size=(N // 2, 300)), 2, axis=0)
    names = [f"{row // 2:03}" for row in range(N)]
    copied = Features(X.astype(np.float32), y, np.array(names), [f"{row}.png" for row in range(N)], "f", [])
    done = compare([Entrant("lot", copied, baseline=True)])
    assert (sum(done.pictures.values()), done.copies) == (N // 2, N // 2)
    assert done.rows[0].metrics.n == N // 2
    assert all(row.metrics.interval[0] < 0.5 < row.metrics.interval[1] for row in done.rows)


def test_only_pictures_that_all_have_are_compared(y: np.ndarray) -> None:
    """In one order; what one could not use is listed, whoever it was."""
    whole = signal(y, 3, seed=1)
    lacking = signal(y, 3, seed=2).take(np.arange(10, N), [Rejected("000.png", "the network failed")])
    changed = whole.digests.copy()
    changed[20] = "another"
    torn = Features(whole.X, whole.y, changed, whole.images, whole.fingerprint, [])
    alike = aligned([whole, lacking, torn])
    kept = [*range(10, 20), *range(21, N)]
    for before, after in zip((whole, signal(y, 3, seed=2), torn), alike, strict=True):
        assert np.array_equal(after.X, before.X[kept])
        assert after.images == [whole.images[row] for row in kept]
    done = compare([Entrant("a", whole, baseline=True), Entrant("b", lacking)])
    assert done.rejected == [Rejected("000.png", "the network failed")]
    assert {row.metrics.n for row in done.rows} == {N - 10}


def test_the_same_folds_and_seed_give_the_same_figures(y: np.ndarray) -> None:
    """And in whatever order the entrants come, each is told as it is fitted."""
    entrants = [Entrant("a", signal(y, 2, 1), baseline=True), Entrant("b", signal(y, 2, 2))]
    told: list[str] = []
    one = compare(entrants, Recipe(seed=3), note=told.append)
    other = compare(entrants[::-1], Recipe(seed=3))
    assert [(row.name, row.metrics, row.gain) for row in one.rows] == [
        (row.name, row.metrics, row.gain) for row in other.rows
    ]
    assert told == ["a", "b"]


@pytest.mark.parametrize(("labels", "says"), [(["a"] * 6, "one class only"), (["a"] * 5 + ["b"], "'b'")])
def test_what_cannot_be_tested_is_refused(labels: list[str], says: str) -> None:
    """One class; a class of one picture."""
    with pytest.raises(InvalidArgument, match=says):
        compare([Entrant("x", features(np.eye(6), np.array(labels)))])


def test_classes_of_two_pictures_make_two_folds() -> None:
    """There are never more folds than pictures to hold out."""
    y = np.array(["a", "b"] * 2)
    done = compare([Entrant("x", features(np.where(y == "a", 1.0, 0.0)[:, None], y), baseline=True)])
    assert done.folds == 2
    assert done.rows[0].metrics.accuracy == 1


def test_the_majority_is_that_of_the_other_folds() -> None:
    """Not of all: the picture that is answered does not vote."""
    y, held = np.array(["a", "a", "b", "b", "b"]), np.array([0, 1, 0, 0, 1])
    assert majority_answers(y, held).tolist() == ["a", "b", "a", "a", "b"]


# The intervals.

rights = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1).map(np.array)


@given(rights, st.integers(2, 20))
def test_a_difference_seen_from_the_other_side_has_the_other_sign(right: np.ndarray, count: int) -> None:
    """And its interval holds no impossible value."""
    ours, theirs = right.T
    one, other = difference(ours, theirs, weight_of(count)), difference(theirs, ours, weight_of(count))
    assert one.share == pytest.approx(ours.mean() - theirs.mean())
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert -1 <= one.interval[0] < one.interval[1] <= 1


def test_the_interval_of_a_difference_is_agresti_and_mins() -> None:
    """With so many pictures that they weigh 900, 300 and 100 where the two disagree: by hand."""
    weight = FOLDS / (2 * FOLDS - 1)
    n, gained, lost = (round(each / weight) for each in (900, 300, 100))
    ours, theirs = np.zeros(n, bool), np.zeros(n, bool)
    ours[:gained] = theirs[gained : gained + lost] = True
    middle, deviation = 200 / 902, sqrt(401 - 200**2 / 902) / 902
    expected = (middle - 1.959964 * deviation, middle + 1.959964 * deviation)
    assert difference(ours, theirs, weight_of(FOLDS)).interval == pytest.approx(expected)


def test_the_interval_of_an_accuracy_is_wilsons_of_fewer_pictures() -> None:
    """With five folds, of five for each nine."""
    assert accuracy_interval(81, 90, FOLDS) == pytest.approx(wilson_interval(45, 50))


def nearest_mean(X: np.ndarray, y: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, float]:
    """The plane half-way between the means of the classes."""
    one, other = (X[known & (y == label)].mean(axis=0) for label in (True, False))
    normal = one - other
    return normal, float(normal @ (one + other) / 2)


def true_accuracy(normal: np.ndarray, bias: float, mean: np.ndarray) -> float:
    """Of a plane, for normal classes of unit deviation around `mean` and its opposite."""
    length = np.linalg.norm(normal)
    sides = ((mean @ normal - bias) / length, (mean @ normal + bias) / length)
    return sum((1 + erf(side / sqrt(2))) / 4 for side in sides)


def simulate(n: int, mean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A cross-validation of the nearest mean: which answers are right, and the heads' true accuracy."""
    y = np.arange(n) % 2 == 0
    X = rng.normal(size=(n, len(mean))) + np.where(y, 1, -1)[:, None] * mean
    right, truth = np.empty(n, bool), []
    for fold in range(FOLDS):
        held = (np.arange(n) // 2) % FOLDS == fold
        normal, bias = nearest_mean(X, y, ~held)
        right[held] = (X[held] @ normal > bias) == y[held]
        truth.append(true_accuracy(normal, bias, mean))
    return right, float(np.mean(truth))


@pytest.mark.parametrize(
    ("n", "dims", "strengths"),
    [(30, (100, 20), (2.0, 1.0)), (100, (50, 50), (0.0, 0.0)), (200, (100, 20), (1.0, 1.0))],
)
def test_intervals_hold_the_truth_in_95_of_100_cross_validations(n, dims, strengths) -> None:
    """Of the accuracy and of the difference, for weak heads and strong, few pictures and many."""
    rng, runs = RNG(7), 600
    means = [np.full(dim, strength / 2 / sqrt(dim)) for dim, strength in zip(dims, strengths, strict=True)]
    held = {"accuracy": 0, "difference": 0}
    for _ in range(runs):
        (ours, our_truth), (theirs, their_truth) = (simulate(n, mean, rng) for mean in means)
        low, high = accuracy_interval(int(ours.sum()), n, FOLDS)
        held["accuracy"] += low <= our_truth <= high
        low, high = difference(ours, theirs, weight_of(FOLDS)).interval
        held["difference"] += low <= our_truth - their_truth <= high
    # Three standard errors of 600 runs below 95 %.
    assert min(held.values()) / runs > 0.95 - 3 * sqrt(0.95 * 0.05 / runs), held


@pytest.mark.slow
def test_intervals_of_fitted_heads_hold_the_truth() -> None:
    """The same with the heads that are really fitted, penalties chosen, and more columns than pictures."""
    rng, runs, n, dim = RNG(8), 60, 60, 200
    mean, y = np.full(dim, 1.5 / sqrt(dim)), np.array(["cat", "dog"] * 30)
    held = folds(y, np.arange(n), 0, FOLDS)
    covered = 0
    for _ in range(runs):
        X = rng.normal(size=(n, dim)) + np.where(y == "dog", 1, -1)[:, None] * mean
        answers, _ = out_of_fold(features(X, y), held, Recipe())
        truth = np.mean([_fitted_truth(X, y, held != fold, mean) for fold in range(FOLDS)])
        low, high = accuracy_interval(int((answers == y).sum()), n, FOLDS)
        covered += low <= truth <= high
    assert covered / runs > 0.95 - 3 * sqrt(0.95 * 0.05 / runs)


def _fitted_truth(X: np.ndarray, y: np.ndarray, known: np.ndarray, mean: np.ndarray) -> float:
    names = np.array([f"{row:03}.png" for row in np.flatnonzero(known)])
    X = X.astype(np.float32)[known]
    rows = Labelled.of(X, y[known], groups=names)
    model, _ = fit(rows, Recipe(), choose(rows, Recipe()))
    normal = (model.layer.weights[1] - model.layer.weights[0]) / model.scaling.scale
    offset = model.layer.bias[1] - model.layer.bias[0]
    return true_accuracy(normal, float(normal @ model.scaling.mean - offset), mean)


# What is printed.


def test_the_table_has_every_figure(compared: Comparison) -> None:
    """One line for each, in order, with its mark; the figures of what it costs where there are any."""
    heading, _, head, *rows = comparison_report.to_text(compared).splitlines()
    assert heading == "logistic regression on 100 pictures of 2 classes: 5 folds, seed 0"
    assert head.split("  ")[-1].strip() == "size"
    low, high = compared.rows[0].gain.interval
    gain = f"+{100 * (1 - compared.rows[1].metrics.accuracy):.1f} {100 * low:+.1f} to {100 * high:+.1f}"
    assert " ".join(rows[0].split()) == f"* clear 100.0 % 93.5 to 100.0 100.0 % {gain} 1,234 10 18.8 MB"
    (majority,) = (row for row in rows[:5] if MAJORITY in row)
    assert majority.split()[-5:] == ["-"] * 5
    assert rows[5] == "* the most accurate"


def test_negative_transfer_is_said_in_so_many_words(compared: Comparison) -> None:
    """Once for each that it is true of; harm is told from what is only not shown to help."""
    said = [line for line in comparison_report.to_text(compared).splitlines() if "negative" in line]
    gains = {row.name: row.gain for row in compared.rows}
    assert said[0] == (
        "negative transfer not ruled out: same is not shown to help: +0.0 points over 'colours', and the "
        f"interval reaches {100 * gains['same'].interval[0]:+.1f}"
    )
    low, high = gains["noise"].interval
    assert said[1:] == [
        f"negative transfer: noise does worse than 'colours': {100 * gains['noise'].share:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f})"
    ]


def test_one_that_is_better_by_points_alone_is_not_called_worse(compared: Comparison) -> None:
    """The words stay, since it may be chance; the figures say how far."""
    gain = replace(compared.rows[0].gain, share=0.042, interval=(-0.013, 0.09))
    rows = [replace(compared.rows[0], gain=gain), *compared.rows[1:]]
    first, *_ = comparison_report.verdicts(replace(compared, rows=rows))
    assert first == (
        "negative transfer not ruled out: clear is not shown to help: +4.2 points over 'colours', and the "
        "interval reaches -1.3"
    )


def test_json_has_all_of_it(compared: Comparison) -> None:
    """As plain values, rows in the same order."""
    facts = json.loads(json.dumps(comparison_report.to_dict(compared)))
    assert (facts["best"], facts["best_baseline"], facts["folds"]) == ("clear", "colours", 5)
    assert facts["pictures"] == {"cat": 50, "dog": 50}
    assert [row["name"] for row in facts["rows"]] == [row.name for row in compared.rows]
    clear = facts["rows"][0]
    assert (clear["accuracy"], clear["dim"], clear["bundle_bytes"]) == (1, 10, 18_800_000)
    assert clear["over_baseline"]["interval"][0] > 0


class Page(HTMLParser):
    """What stands on a page: its cells, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)


def test_the_page_says_what_the_table_says(compared: Comparison) -> None:
    """Well-formed, with nothing loaded from elsewhere; a name is shown, whatever it holds."""
    rows = [replace(row, name="<b>&same") if row.name == "same" else row for row in compared.rows]
    page = Page(comparison_report.to_html(replace(compared, rows=rows), "my <photos>", date(2026, 5, 4)))
    assert (page.open, page.links) == ([], [])
    assert any("<b>&same" in text for text in page.texts)
    for row in compared.rows:
        for cell in comparison_report.cells(row)[1:]:
            assert cell in page.texts
    assert any(text.startswith("negative transfer: noise does worse than 'colours'") for text in page.texts)
    assert any(text.startswith("my <photos>, 2026-05-04: logistic regression on 100") for text in page.texts)


def test_a_long_name_leaves_the_figures_in_sight(compared: Comparison) -> None:
    """On a narrow screen names are broken, and the table moves in a frame of its own, not the page."""
    page = comparison_report.to_html(compared, "photos", date(2026, 5, 4))
    assert '<meta name="viewport" content="width=device-width' in page
    assert '<div class="scroll">\n<table>' in page
    assert ".scroll { overflow-x: auto; }" in page
    assert "td:first-child { overflow-wrap: anywhere; }" in page
