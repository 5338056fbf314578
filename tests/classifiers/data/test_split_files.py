from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers.data.features import Features
from classifiers.data.sides import sides
from classifiers.data.split_files import take_split, write_split
from extractor.errors import InvalidArgument, NotFound


@pytest.fixture
def features() -> Features:
    X = np.random.default_rng(0).normal(size=(40, 4)).astype("f4")
    names = [f"ünï/{row}, «x».png" for row in range(40)]
    return Features(
        X, np.array(["a", "b"] * 20), np.array([f"{row:064}" for row in range(40)]), names, "f", []
    )


def test_a_split_is_taken_again_whatever_the_order(features, tmp_path: Path) -> None:
    known, unseen, _, _ = sides(features, None, 0.25, 3)
    write_split(tmp_path / "split.csv", known, unseen)
    assert (tmp_path / "split.csv").read_text().splitlines()[0] == "path,digest,label,part"
    shuffled = features.take(np.random.default_rng(1).permutation(40))
    again = sides(take_split(shuffled, tmp_path / "split.csv"), None, 0.5, 0)
    assert set(again.unseen.digests) == set(unseen.digests)
    assert set(again.known.digests) == set(known.digests)
    assert again.refit is not None
    assert len(again.refit.X) == 40


def test_images_that_it_does_not_name_are_fitted_on_unless_they_are_like_a_test_image(
    features, tmp_path: Path
) -> None:
    known, unseen, _, _ = sides(features, None, 0.25, 3)
    write_split(tmp_path / "split.csv", known.take(np.arange(20)), unseen)
    new = known.digests[20:]
    groups = features.groups.copy()
    groups[features.digests == new[0]] = unseen.groups[0]
    again = sides(take_split(replace(features, groups=groups), tmp_path / "split.csv"), None, 0.5, 0)
    assert set(new[1:]) <= set(again.known.digests)
    assert new[0] not in again.known.digests


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\n", "no split"),
        ("digest,part\nab,train\n", "none of these images"),
        ("digest,part\nab,half\n", "does not say once"),
        ("digest,part\nab,train\nab,test\n", "does not say once"),
    ],
)
def test_a_file_that_is_no_split_is_refused(features, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InvalidArgument, match=says):
        take_split(features, tmp_path / "s.csv")


def test_a_split_that_is_not_there_is_named(features, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.csv"):
        take_split(features, tmp_path / "none.csv")
