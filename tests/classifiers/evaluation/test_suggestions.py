"""Images at a known distance from the border between two classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from classifiers.data.targets import Labelled
from classifiers.evaluation.labelling import worth_labelling
from classifiers.evaluation.suggestions import margins, suggest
from classifiers.layers import Model
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose


class Item(NamedTuple):
    id: str
    vector: np.ndarray | None
    digest: bytes
    label: str | None


class Shelf:
    name = "shelf"

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def items(self, *, vectors: bool = False) -> Iterator[Item]:
        return iter(self._items)

    def thumbnail(self, id: str) -> bytes | None:
        return id.encode()

    def known(self, id: str) -> None:
        return None


def fitted(X: np.ndarray, y: np.ndarray) -> Model:
    rows = Labelled.of(X, y)
    return fit(rows, Recipe(), choose(rows, Recipe()))[0]


@pytest.fixture(scope="module")
def model() -> Model:
    """Tells rows by the sign of their first column; four other columns say nothing."""
    X = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    return fitted(X, (X[:, 0] > 0).astype(int))


def test_what_is_suggested_lies_near_the_border(model: Model) -> None:
    X = np.random.default_rng(1).normal(size=(2000, 5)).astype(np.float32)
    found = suggest(model, X, 20)
    assert len({each.row for each in found}) == 20
    near = np.abs(X[[each.row for each in found], 0])
    assert near.max() < np.quantile(np.abs(X[:, 0]), 0.12)
    everywhere = margins(model.probabilities(X), False)
    assert max(each.margin for each in found) <= np.quantile(everywhere, 0.12)


def test_copies_of_a_hard_image_are_suggested_once(model: Model) -> None:
    X = np.random.default_rng(2).normal(size=(200, 5)).astype(np.float32)
    hard = np.array([[0.0, 1, -1, 1, 1]], np.float32)
    found = suggest(model, np.concatenate([X, np.repeat(hard, 30, axis=0)]), 10)
    assert sum(each.row >= 200 for each in found) <= 1


def test_labels_that_are_suggested_teach_more_than_any() -> None:
    """On a task with a thin border; the mean of several rounds."""
    gained = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(3000, 8)).astype(np.float32)
        y = ((X[:, 0] + 0.5 * X[:, 1]) > 0.8).astype(int)
        start, pool, test = np.arange(40), np.arange(40, 1500), np.arange(1500, 3000)
        chosen = pool[[each.row for each in suggest(fitted(X[start], y[start]), X[pool], 40)]]
        anyhow = rng.choice(pool, 40, replace=False)
        right = []
        for more in (chosen, anyhow):
            known = np.concatenate([start, more])
            right.append((fitted(X[known], y[known]).scores(X[test]).argmax(axis=1) == y[test]).mean())
        gained.append(right[0] - right[1])
    assert np.mean(gained) > 0


def test_of_several_labels_the_least_sure_counts() -> None:
    told = np.array([[0.9, 0.5], [0.99, 0.01]])
    assert margins(told, True) == pytest.approx([0, 0.98])
    assert margins(told, False) == pytest.approx([0.4, 0.98])


def test_nothing_is_suggested_of_nothing(model: Model) -> None:
    assert suggest(model, np.empty((0, 5), np.float32), 5) == []


def test_a_collection_gives_what_has_no_label_yet(model: Model) -> None:
    """Whatever its size, in batches; labelled items and labelled pictures are passed over."""
    X = np.random.default_rng(3).normal(size=(5000, 5)).astype(np.float32)
    X[:, 0] += np.where(X[:, 0] > 0, 1, -1)
    X[7] = X[8] = X[4999] = (0.001, 1, 1, 1, 1)
    X[4999, 1] = -1
    items = [Item(f"i{at}", row, at.to_bytes(4, "big"), "a" if at == 8 else None) for at, row in enumerate(X)]
    items.append(Item("no vector", None, b"", None))
    labelled = {(7).to_bytes(4, "big").hex()}
    found = worth_labelling(model, ["no", "yes"], Shelf(items), labelled, 5)
    assert (found.collection, found.unlabelled) == ("shelf", 4998)
    assert found.images[0].id == "i4999"
    assert found.images[0].picture == b"i4999"
    assert not {"i7", "i8"} & {each.id for each in found.images}


def test_a_collection_that_is_all_labelled_gives_nothing(model: Model) -> None:
    shelf = Shelf([Item("a", np.ones(5, np.float32), b"a", "yes")])
    found = worth_labelling(model, ["no", "yes"], shelf, set(), 5)
    assert (found.unlabelled, list(found.images)) == (0, [])
