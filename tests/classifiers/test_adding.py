from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from classifiers import Head, HeadManifest, load_head
from classifiers.adding import add_class
from classifiers.adding.layers import ridge
from classifiers.cli import command as fit_head
from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.kinds import KINDS, Rows, Setting
from classifiers.layers import Standardise
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from extractor.errors import InvalidArgument

DIM, PER_CLASS = 24, 60
CENTRES = np.random.default_rng(5).normal(size=(4, DIM))


def rows_of(*places: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows about the centres of these classes, and their labels."""
    rng = np.random.default_rng([seed, *places])
    X = np.concatenate([rng.normal(CENTRES[place], 0.5, (PER_CLASS, DIM)) for place in places])
    return X.astype(np.float32), np.repeat([f"class {place}" for place in places], PER_CLASS)


def head_of(kind: str, scale: str = "standardise", class_weight: str | None = None) -> Head:
    """A head of the first three classes."""
    X, y = rows_of(0, 1, 2)
    recipe = Recipe(kind, scale, class_weight=class_weight)
    labelled = Labelled.of(X, y, class_weight=class_weight)
    choice = choose(labelled, recipe)
    model, _ = fit(labelled, recipe, choice)
    fitting = {"class_weight": class_weight, **choice.setting.named()}
    manifest = HeadManifest(
        "h", choice.kind, list(labelled.classes), "f" * 64, "b", DIM, {"accuracy": 0.9}, fitting
    )
    return Head(manifest, model, Statistics.of(labelled), Rejection.fit(labelled))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("scale", ["standardise", "normalise"])
def test_every_kind_learns_a_class_and_forgets_none(kind: str, scale: str) -> None:
    head = head_of(kind, scale)
    wider = add_class(head, "class 3", rows_of(3)[0]).head
    X, y = rows_of(0, 1, 2, 3, seed=1)
    assert wider.manifest.classes == ["class 0", "class 1", "class 2", "class 3"]
    assert (wider.predict(X) == y).mean() > 0.97
    assert wider.manifest.metrics == {}


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_ridge_with_a_class_more_is_the_fit_on_all_rows(class_weight: str | None) -> None:
    """To the rounding of float32, with the scaling that it had."""
    head = head_of("ridge", class_weight=class_weight)
    new = rows_of(3)[0][:20]
    wider = add_class(head, "class 3", new)
    X = np.concatenate([rows_of(0, 1, 2)[0], new])
    y = np.repeat([0, 1, 2, 3], [PER_CLASS] * 3 + [20])
    labelled = Labelled.of(X, y, class_weight=class_weight)
    strength = head.manifest.fitting["strength"]
    scaled = Rows(head.model.scaling(X), labelled.y, labelled.weights, 4)
    again = KINDS["ridge"].fitter(scaled, True)(Setting(strength=strength))
    assert wider.exact
    for name in ("weights", "bias"):
        assert np.allclose(getattr(wider.head.model.layer, name), getattr(again, name), atol=2e-5)


@pytest.mark.parametrize("kind", ["nearest-mean", "knn"])
def test_means_and_neighbours_are_those_of_all_rows(kind: str) -> None:
    head = head_of(kind)
    new = rows_of(3)[0]
    X, y = np.concatenate([rows_of(0, 1, 2)[0], new]), np.repeat([0, 1, 2, 3], PER_CLASS)
    scaled = Rows(head.model.scaling(X), y, np.ones(len(y)), 4)
    neighbours = int(head.manifest.fitting.get("neighbours", 1))
    again = KINDS[kind].fitter(scaled, True)(Setting(neighbours=neighbours))
    probes = head.model.scaling(rows_of(0, 1, 2, 3, seed=2)[0])
    wider = add_class(head, "class 3", new)
    assert wider.exact
    assert np.allclose(wider.head.model.layer.scores(probes), again.scores(probes), atol=1e-4)


@pytest.mark.parametrize("kind", ["logistic", "linear-svm", "mlp", "rbf-svm"])
def test_other_kinds_keep_what_they_say_among_the_earlier_classes(kind: str) -> None:
    head = head_of(kind)
    wider = add_class(head, "class 3", rows_of(3)[0])
    X = rows_of(0, 1, 2, 3, seed=3)[0]
    assert not wider.exact
    assert np.allclose(wider.head.model.scores(X)[:, :3], head.model.scores(X), atol=1e-4)


def test_the_statistics_are_those_of_all_rows() -> None:
    X, y = rows_of(0, 1, 2, 3)
    known = y != "class 3"
    wider = add_class(head_of("ridge"), "class 3", X[~known]).head.statistics
    head = head_of("ridge").statistics
    assert wider is not None
    assert head is not None
    assert wider.counts.tolist() == [PER_CLASS] * 4
    assert np.allclose(wider.centres[3], X[~known].mean(axis=0), atol=1e-5)
    apart = X[~known] - X[~known].mean(axis=0)
    assert np.allclose(wider.scatter - head.scatter, apart.T @ apart, atol=1e-3)


def test_ridge_from_statistics_is_ridge_from_rows() -> None:
    X, y = rows_of(0, 1, 2)
    labelled = Labelled.of(X, y)
    scaling = Standardise.fit(X)
    found = ridge(Statistics.of(labelled), scaling, 0.01)
    rows = Rows(scaling(X), labelled.y, labelled.weights, 3)
    again = KINDS["ridge"].fitter(rows, True)(Setting(strength=0.01))
    assert np.allclose(found.weights, again.weights, atol=2e-5)
    assert np.allclose(found.bias, again.bias, atol=2e-5)


def test_a_class_that_was_unknown_is_known_afterwards() -> None:
    head = head_of("logistic")
    new = rows_of(3, seed=4)[0]
    assert head.rejection is not None
    assert head.rejection.unknown(new).mean() > 0.95
    wider = add_class(head, "class 3", rows_of(3)[0]).head
    assert wider.rejection is not None
    assert wider.rejection.unknown(new).mean() < 0.15
    assert wider.rejection.unknown(rows_of(0, 1, 2, seed=4)[0]).mean() < 0.15


@pytest.mark.parametrize("rows", [8, 60])
def test_a_class_added_of_so_many_images_keeps_the_promise_of_false_rejects(rows: int) -> None:
    """Of its own images and of the earlier classes', which it has not seen, no more are unknown."""
    wider = add_class(head_of("logistic"), "class 3", rows_of(3)[0][:rows])
    assert wider.head.rejection is not None
    assert wider.thresholds is not None
    assert wider.thresholds[1] == wider.head.rejection.threshold
    promised = wider.head.rejection.measured.false_rejects
    for places in ((3,), (0, 1, 2)):
        unseen = np.concatenate([rows_of(*places, seed=seed)[0] for seed in range(5, 15)])
        assert wider.head.rejection.unknown(unseen).mean() < promised + 0.06


def test_a_class_of_images_that_are_unlike_each_other_is_said_to_loosen_the_threshold() -> None:
    head = head_of("logistic")
    odd = 6 * np.random.default_rng(9).normal(size=(5, DIM)).astype(np.float32)
    mixed, plain = add_class(head, "odd", odd), add_class(head, "class 3", rows_of(3)[0])
    assert head.rejection is not None
    assert mixed.thresholds is not None
    assert mixed.thresholds[0] == head.rejection.threshold
    assert mixed.thresholds[1] > 1.5 * mixed.thresholds[0]
    assert mixed.is_looser
    assert not plain.is_looser


def test_a_single_image_makes_a_class() -> None:
    wider = add_class(head_of("logistic"), "class 3", rows_of(3)[0][:1]).head
    assert wider.predict(rows_of(3)[0][:1]).tolist() == ["class 3"]


def test_a_class_that_is_there_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="has the class 'class 1' already"):
        add_class(head_of("ridge"), "class 1", rows_of(1)[0])


def test_a_class_is_added_by_the_command_and_the_earlier_version_stays(invoke, painted, paint, store) -> None:
    invoke(fit_head, painted, "--name", "colours")
    for i in range(8):
        paint(f"green/{i}.png", (60, 180, 60), 300 + i)
    arguments = ("--name", "colours", "--add-class", "green")
    code, out, err = invoke(fit_head, painted.parent / "green", *arguments, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["version"], facts["serving"], facts["rows"], facts["found"]) == (2, 1, 8, 8)
    assert load_head("colours", store).manifest.classes == ["blue", "red"]
    assert load_head("colours", store, version=2).manifest.classes == ["blue", "red", "green"]
    code, out, _ = invoke(fit_head, painted.parent / "green", *arguments, "--promote")
    assert code == 0
    assert "colours: 'green' added from 8 images" in out
    assert "warning" not in out
    assert "version 3 answers from now on" in out


@pytest.mark.parametrize(
    ("source", "label", "says"),
    [
        ("nowhere", "green", "nowhere"),
        ("painted/red", "red", "has the class 'red' already"),
        ("painted/red", " ", "a class needs a name"),
    ],
)
def test_what_cannot_be_added_is_one_sentence(invoke, painted: Path, store, source, label, says) -> None:
    invoke(fit_head, painted, "--name", "colours")
    code, out, err = invoke(fit_head, painted.parent / source, "--name", "colours", "--add-class", label)
    assert (code, out) == (1, "")
    assert says in err
    assert len(list((store.heads / "colours/versions").glob("0*"))) == 1


def test_a_class_that_is_not_found_among_its_own_images_is_warned_of(invoke, painted: Path) -> None:
    """A folder of other classes, all of whose sub-folders are taken for one."""
    invoke(fit_head, painted, "--name", "colours", "--head", "nearest-mean", "--no-report")
    code, out, _ = invoke(fit_head, painted, "--name", "colours", "--add-class", "both")
    assert code == 0
    assert "warning: the head takes most images of 'both' for other classes." in out


def test_a_threshold_that_moves_far_is_said_with_both(invoke, painted: Path, paint) -> None:
    invoke(fit_head, painted, "--name", "colours", "--no-report")
    for i, colour in enumerate([(0, 0, 0), (255, 255, 255), (250, 250, 0), (0, 250, 0), (90, 90, 90)]):
        paint(f"odd/{i}.png", colour, 400 + i)
    arguments = (painted.parent / "odd", "--name", "colours", "--add-class", "odd")
    code, out, _ = invoke(fit_head, *arguments)
    facts = json.loads(invoke(fit_head, *arguments, "--json")[1])
    before, now = facts["thresholds"]["before"], facts["thresholds"]["now"]
    assert code == 0
    assert now > 1.5 * before
    assert (
        f"warning: an image is unknown above the distance {now:.3g} now, and was above {before:.3g}:" in out
    )
