from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classifiers import train
from classifiers.data.dataset import Dataset
from classifiers.data.features import Features, gathered
from classifiers.data.sides import sides
from classifiers.store.records import Rows
from classifiers.training.recipes import Recipe
from extractor.errors import InvalidArgument


def gather(labels: list[str], *, multi_label: bool = False, **columns: list) -> Features:
    """Rows about a centre for each label."""
    rng = np.random.default_rng(0)
    distinct = sorted(set("".join(labels)))
    centres = {letter: rng.normal(0, 3, 8) for letter in distinct}
    X = np.stack(
        [rng.normal(size=8) + sum((centres[each] for each in label), np.zeros(8)) for label in labels]
    )
    dataset = Dataset([f"{row}.png" for row in range(len(X))], labels, multi_label=multi_label, **columns)
    return gathered(dataset, X.astype("f4"), [f"{row:03}" for row in range(len(X))], "f" * 64)


def test_a_class_of_one_image_is_left_out_and_listed() -> None:
    known, unseen, everything, _ = sides(gather(["a"] * 8 + ["b"] * 8 + ["c"]), None, 0.25, 0)
    assert everything is not None
    assert set(known.y) == set(unseen.y) == set(everything.y) == {"a", "b"}
    (left_out,) = known.rejected
    assert (left_out.image, left_out.reason) == (
        "16.png",
        "its class 'c' has only one usable image: none could be held out",
    )


def test_a_class_that_is_one_group_is_left_out_and_listed() -> None:
    features = gather(["a"] * 8 + ["b"] * 8 + ["c"] * 3, groups=[""] * 16 + ["one"] * 3)
    known, _, _, _ = sides(features, None, 0.25, 0)
    assert [each.reason for each in known.rejected] == [
        "its class 'c' has only one group of images: none could be held out"
    ] * 3


def test_two_classes_of_one_group_each_are_refused() -> None:
    features = gather(["a"] * 8 + ["b"] * 8, groups=["a"] * 8 + ["b"] * 8)
    with pytest.raises(InvalidArgument, match="all images of the class 'a' are of one group"):
        sides(features, None, 0.25, 0)


def test_groups_are_never_parted() -> None:
    groups = [str(row % 13) for row in range(80)]
    known, unseen, _, _ = sides(gather(["a", "b"] * 40, groups=groups), None, 0.25, 0)
    assert not set(known.groups) & set(unseen.groups)
    assert {groups[int(image[:-4])] for image in known.images}.isdisjoint(
        groups[int(image[:-4])] for image in unseen.images
    )


def test_a_row_in_no_group_is_by_itself() -> None:
    features = gather(["a", "b"] * 10, groups=["x", "x"] + [""] * 18)
    assert features.groups[0] == features.groups[1]
    assert len(set(features.groups)) == 19


def test_a_label_that_every_image_has_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="every image has the label 'a'"):
        sides(gather(["a|b", "a"] * 10, multi_label=True), None, 0.25, 0)


def test_a_label_of_one_image_among_several_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="label 'c' is on one distinct image"):
        sides(gather(["a|b", "a", "b"] * 5 + ["c|a"], multi_label=True), None, 0.25, 0)


@pytest.mark.parametrize("kind", ["logistic", "ridge", "linear-svm"])
def test_heads_of_several_labels_are_fitted_and_tested(kind) -> None:
    rng = np.random.default_rng(1)
    texts = ["|".join(letter for letter in "abc" if rng.random() < 0.4) or "|" for _ in range(200)]
    training = train("h", gather(texts, multi_label=True), backbone="none", recipe=Recipe(kind))
    assert training.head.manifest.classes == ["a", "b", "c"]
    assert len(training.head.manifest.thresholds) == 3
    assert training.metrics.macro_f1 > 0.9
    assert training.metrics.to_dict()["micro_f1"] > 0.9
    assert sorted(Rows.of(training).labels) == sorted(training.known.texts + training.unseen.texts)
    found = training.head.judge(training.unseen.X, reject=False)
    truth = [set(text.strip("|").split("|")) - {""} for text in training.unseen.texts]
    right = [set(each.labels) == labels for each, labels in zip(found, truth, strict=True)]
    assert np.mean(right) == pytest.approx(training.metrics.accuracy, abs=0.05)


def test_weights_of_rows_and_of_classes_move_the_head() -> None:
    """The same overlapping rows: the more a class weighs, the more often it is answered."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype("f4")
    y = np.where(X[:, 0] + rng.normal(size=300) > 0, "a", "b")
    names = [f"{row:03}" for row in range(300)]
    plain = Features(X, y, np.array(names), names, "f" * 64, [])
    heavy = replace(plain, weights=np.where(y == "a", 20.0, 1.0))

    def share(features: Features, **more) -> float:
        head = train("h", features, backbone="", recipe=Recipe(**more)).head
        return float((head.predict(X) == "a").mean())

    assert share(heavy) > share(plain) + 0.2
    assert share(plain, class_weight={"a": 20.0}) == pytest.approx(share(heavy), abs=0.05)
    assert share(plain, class_weight={"b": 20.0}) < share(plain) - 0.2


def test_what_is_too_near_to_a_test_image_is_fitted_on_after_the_test() -> None:
    """It is no loss, and the version's rows have it."""
    groups = [f"{row}" for row in range(40)]
    groups[3] = groups[35]
    features = gather(["a", "b"] * 20, groups=groups, parts=["train"] * 30 + ["test"] * 10)
    training = train("h", features, backbone="none")
    assert "3.png" not in training.known.images
    assert training.aside is not None
    assert training.aside.images == ["3.png"]
    assert training.rejected == []
    assert training.head.manifest.fitting["aside"] == 1
    assert training.head.statistics is not None
    assert training.head.statistics.counts.sum() == 40
    rows = Rows.of(training)
    assert dict(zip(rows.paths, rows.splits, strict=True))["3.png"] == "train"
    assert len(rows.paths) == 40


def test_a_class_that_could_not_be_tested_is_not_fitted_on_afterwards() -> None:
    """All of `c` to train on is of one group with a test image of it."""
    groups = ["" if row < 40 else "c" for row in range(46)] + [""]
    parts = (["train"] * 30 + ["test"] * 10) + ["train"] * 5 + ["test"] * 2
    features = gather(["a", "b"] * 20 + ["c"] * 7, groups=groups, parts=parts)
    known, unseen, everything, _ = sides(features, None, 0.25, 0)
    assert everything is not None
    assert set(known.y) == set(unseen.y) == set(everything.y) == {"a", "b"}
    assert train("h", features, backbone="none").tested.probabilities(features.X).shape == (47, 2)
