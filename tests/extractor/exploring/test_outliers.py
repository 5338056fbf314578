"""Outliers: what is unlike all else comes first."""

import numpy as np
import pytest

from extractor.errors import InvalidArgument
from extractor.exploring.outliers import find_outliers
from extractor.exploring.pairs import nearest
from tests.extractor.exploring.conftest import PARTS, SUBJECTS, perturbed


def test_planted_outliers_come_first(planted, read) -> None:
    """Three pictures of things that all the others are not parts of."""
    odd = [SUBJECTS.index(subject) for subject in ("astronaut", "coffee", "rocket")]
    usual = [place for place in range(len(SUBJECTS)) if place not in odd]
    parts = np.concatenate([planted.parts[place * PARTS : (place + 1) * PARTS] for place in usual])
    rows = read([*parts[:20], *planted.whole[odd], *parts[20:]])
    found = find_outliers(rows, 3, k=5)
    assert {image.id for image in found.images} == {"20", "21", "22"}
    assert found.images[-1].distance > 2 * found.median


def test_the_measure_is_the_mean_distance_to_the_k_nearest(planted, read) -> None:
    """As the whole matrix gives it, oddest first, over several tiles."""
    rows = read(perturbed(planted.parts, 1500)[:, :300])
    units = np.concatenate(list(rows.tiles(1500))).astype(np.float64)
    scores = units @ units.T
    np.fill_diagonal(scores, -np.inf)
    expected = 1 - np.sort(scores, axis=1)[:, -7:].mean(axis=1)
    found = find_outliers(rows, 1500, k=7)
    order = [int(image.id) for image in found.images]
    distances = np.array([image.distance for image in found.images])
    np.testing.assert_allclose(distances, expected[order], atol=2e-6)
    assert (np.diff(distances) <= 0).all()
    assert found.median == pytest.approx(np.median(expected), abs=2e-6)


def test_tiles_of_any_size_give_the_same_neighbours(planted, read) -> None:
    """Also when k is more than a tile has rows."""
    rows = read(planted.parts)
    np.testing.assert_allclose(
        np.sort(nearest(rows, 10, size=7)), np.sort(nearest(rows, 10, size=100)), atol=1e-6
    )


def test_few_images_have_few_neighbours(planted, read) -> None:
    """Unless told, k is 10 or all the others."""
    assert find_outliers(read(planted.whole[:3]), 9).k == 2
    assert find_outliers(read(planted.parts), 9).k == 10
    assert len(find_outliers(read(planted.whole[:3]), 9).images) == 3


def test_copies_have_no_distance(planted, read) -> None:
    """And stand in the order they were written."""
    found = find_outliers(read([planted.whole[0]] * 4), 4)
    assert [(image.id, image.distance) for image in found.images] == [(str(n), 0.0) for n in range(4)]


@pytest.mark.parametrize("k", [0, 8])
def test_a_k_that_makes_no_sense_is_refused(planted, read, k: int) -> None:
    """With how many there are."""
    with pytest.raises(
        InvalidArgument, match=f"each of 8 images has 7 neighbours, so k is 1 to that, not {k}"
    ):
        find_outliers(read(planted.whole), 3, k)


def test_a_single_image_cannot_be_an_outlier(planted, read) -> None:
    """Said in a sentence."""
    with pytest.raises(InvalidArgument, match="at least two"):
        find_outliers(read(planted.whole[:1]), 3)
