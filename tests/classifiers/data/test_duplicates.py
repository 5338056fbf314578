"""Planted copies, kinds and chains, of which it is known what belongs together."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from classifiers.data.duplicates import grouped
from classifiers.data.features import Features
from extractor.errors import InvalidArgument


def features(X: np.ndarray, y: list[str], digests: list[str] | None = None, **more) -> Features:
    names = [f"{row:03}" for row in range(len(X))]
    return Features(X.astype("f4"), np.array(y), np.array(digests or names), names, "f" * 64, [], **more)


def nearly(rows: np.ndarray, cosine: float, seed: int = 1) -> np.ndarray:
    """For each row another of that cosine with it."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    other = np.random.default_rng(seed).normal(size=rows.shape)
    other -= (other * units).sum(axis=1, keepdims=True) * units
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return cosine * units + np.sqrt(1 - cosine**2) * other


@pytest.fixture
def photos() -> np.ndarray:
    """Forty different ones: no two are alike."""
    return np.random.default_rng(0).normal(size=(40, 64))


def test_planted_near_copies_are_found_and_nothing_else_is(photos) -> None:
    copies = nearly(photos[:10], 0.97)
    found = grouped(features(np.vstack([photos, copies]), ["a", "b"] * 25))
    assert found.alike == 0.95
    assert found.groups[40:].tolist() == found.groups[:10].tolist()
    assert len(set(found.groups.tolist())) == 40


def test_the_length_of_a_vector_says_nothing(photos) -> None:
    copies = 50 * nearly(photos[:10], 0.97)
    found = grouped(features(np.vstack([photos, copies]), ["a", "b"] * 25))
    assert len(set(found.groups.tolist())) == 40


def test_a_series_of_one_kind_needs_more_likeness() -> None:
    """Every two have a cosine of about 0.95, and three pairs are near copies."""
    rng = np.random.default_rng(0)
    kind = rng.normal(size=256) * 4.4 + rng.normal(size=(200, 256))
    copies = nearly(kind[:3], 0.997)
    found = grouped(features(np.vstack([kind, copies]), ["a", "b"] * 101 + ["a"]))
    assert found.alike is not None
    assert found.alike > 0.95
    assert found.groups[200:].tolist() == found.groups[:3].tolist()
    assert len(set(found.groups.tolist())) == 200


def test_groups_do_not_depend_on_the_order_of_the_rows(photos) -> None:
    given = features(np.vstack([photos, nearly(photos[:10], 0.97)]), ["a", "b"] * 25)
    order = np.random.default_rng(3).permutation(50)
    assert grouped(given.take(order)).groups.tolist() == grouped(given).groups[order].tolist()


def test_a_threshold_of_the_users_is_taken_as_it_is(photos) -> None:
    given = features(np.vstack([photos, nearly(photos[:10], 0.97)]), ["a", "b"] * 25)
    assert len(set(grouped(given, 0.98).groups.tolist())) == 50
    assert grouped(given, 1) is given
    with pytest.raises(InvalidArgument, match="over 0 and at most 1"):
        grouped(given, 1.5)


def test_copies_of_one_file_and_given_groups_are_joined_with_near_ones(photos) -> None:
    """Row 0 is near row 40, which has the file of row 41, which the user groups with row 5."""
    X = np.vstack([photos, nearly(photos[:1], 0.97), photos[7:8]])
    digests = [f"{row:03}" for row in range(40)] + ["copy", "copy"]
    groups = np.array([f"{row:03}" for row in range(40)] + ["copy", "copy"])
    groups[5] = "copy"
    found = grouped(features(X, ["a", "b"] * 21, digests, groups=groups))
    assert len({found.groups[row] for row in (0, 5, 40, 41)}) == 1


def test_a_class_that_is_one_picture_over_and_over_can_still_be_parted(photos) -> None:
    """Its rows stay as they were; the other class's near copies are joined."""
    same = np.vstack([nearly(photos[:1], 0.999, seed) for seed in range(20)])
    others = np.vstack([photos[1:], nearly(photos[1:6], 0.999)])
    found = grouped(features(np.vstack([same, others]), ["same"] * 20 + ["other"] * 44))
    groups = found.groups.tolist()
    assert len(set(groups[:20])) == 20
    assert groups[20:25] == groups[-5:]


def test_rows_of_zeros_are_like_none(photos) -> None:
    X = np.vstack([photos, np.zeros((2, 64))])
    assert len(set(grouped(features(X, ["a", "b"] * 21)).groups.tolist())) == 42


def test_near_copies_of_test_images_are_not_fitted_on(photos) -> None:
    given = features(np.vstack([photos, nearly(photos[:4], 0.97)]), ["a", "b"] * 22)
    whole = grouped(replace(given, parts=np.repeat(["train", "test"], [40, 4])))
    train, test = whole.parted()
    assert test is not None
    kept = train.without(test)
    assert kept.images == [f"{row:03}" for row in range(4, 40)]
    for row, each in enumerate(kept.rejected):
        said = f"nearly the same picture is among the test images: {40 + row:03} (cosine 0.9"
        assert each.reason.startswith(said)


def test_what_the_user_has_joined_with_a_test_image_is_said_to_be_of_its_group(photos) -> None:
    given = features(photos, ["a", "b"] * 20)
    given = replace(given, groups=np.where(np.arange(40) % 39 == 0, "module", given.groups))
    train, test = replace(given, parts=np.repeat(["train", "test"], [30, 10])).parted()
    assert test is not None
    assert [astuple(each) for each in train.without(test).rejected] == [
        ("000", "it is of one group with the test image 039")
    ]
