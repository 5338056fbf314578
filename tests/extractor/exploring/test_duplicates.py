"""Duplicates: what was planted is found, nothing else, and never by a whole matrix."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from extractor.errors import InvalidArgument
from extractor.exploring.duplicates import THRESHOLD, find_duplicates, find_duplicates_of
from extractor.exploring.pairs import tiles
from tests.extractor.exploring.conftest import SUBJECTS, perturbed


def ids(groups) -> set[frozenset[str]]:
    return {frozenset(member.id for member in group.members) for group in groups}


def test_copies_of_real_pictures_are_found_and_nothing_else(planted, read) -> None:
    """Saved again as JPEG and made smaller, at the default threshold, among eight different pictures."""
    rows = read(
        np.concatenate([planted.whole, planted.saved, planted.smaller]),
        ids=[f"{subject} {kind}" for kind in ("whole", "saved", "smaller") for subject in SUBJECTS],
    )
    assert ids(find_duplicates(rows)) == {
        frozenset(f"{subject} {kind}" for kind in ("whole", "saved", "smaller")) for subject in SUBJECTS
    }


def test_a_group_s_first_is_the_oldest_and_scores_are_to_it(planted, read) -> None:
    """The score is the cosine of the two embeddings."""
    rows = read([planted.saved[0], planted.whole[1], planted.whole[0]])
    (group,) = find_duplicates(rows)
    first, other = planted.saved[0], planted.whole[0]
    cosine = first @ other / np.linalg.norm(first) / np.linalg.norm(other)
    assert [member.id for member in group.members] == ["0", "2"]
    assert group.members[0].score == 1
    assert group.members[1].score == pytest.approx(cosine, abs=2e-6)
    assert not group.exact


def test_files_of_the_same_bytes_belong_together_whatever_their_vectors(planted, read) -> None:
    """Other numerics may have made them; items without a digest are not the same."""
    digests = [b"a" * 32, b"b" * 32, b"", b"a" * 32, b""]
    (group,) = find_duplicates(read(planted.whole[:5], digests))
    assert [(member.id, member.exact) for member in group.members] == [("0", True), ("3", True)]
    assert group.exact
    assert group.lowest < THRESHOLD


@pytest.mark.parametrize("threshold", [0.2, 0.55, 0.6, 0.7, 1.0])
def test_groups_are_those_of_the_whole_matrix(planted, read, threshold: float) -> None:
    """Several tiles, many pairs or none: the same as comparing all with all at once."""
    rows = read(perturbed(planted.parts, 1300, 0.024))
    units = np.concatenate(list(rows.tiles(500))).astype(np.float64)
    _, which = connected_components(units @ units.T >= threshold)
    expected = {frozenset(map(str, np.flatnonzero(which == one))) for one in np.unique(which)}
    assert ids(find_duplicates(rows, threshold)) == {group for group in expected if len(group) > 1}


def test_the_largest_group_is_first(planted, read) -> None:
    """Those as large are in the order of their first."""
    whole = planted.whole
    rows = read([whole[0], whole[1], whole[0], whole[2], whole[1], whole[2], whole[2]])
    groups = [[member.id for member in group.members] for group in find_duplicates(rows)]
    assert groups == [["3", "5", "6"], ["0", "2"], ["1", "4"]]


def test_a_chain_is_one_group_whose_lowest_score_says_so(read) -> None:
    """Each is near the next, the ends are far apart."""
    angles = np.linspace(0, np.pi / 2, 20)
    (group,) = find_duplicates(read(np.stack([np.cos(angles), np.sin(angles)], axis=1)), 0.99)
    assert len(group.members) == 20
    assert group.lowest == pytest.approx(0, abs=1e-6)


def test_every_pair_is_in_one_tile(planted, read) -> None:
    """And each tile's scores are the cosines of its rows."""
    rows = read(planted.parts[:23])
    units, met = rows.tile(0, 23), np.zeros((23, 23), int)
    for tile in tiles(rows, size=5):
        met[np.ix_(tile.left, tile.right)] += 1
        np.testing.assert_allclose(tile.scores, units[tile.left] @ units[tile.right].T, atol=1e-6)
    assert (np.maximum(met, met.T) == 1).all()


def test_memory_is_that_of_a_tile(planted, read) -> None:
    """The matrix of 5,000 images would have 100 MB."""
    rows = read(perturbed(planted.parts, 5000)[:, :256])
    tracemalloc.start()
    try:
        list(find_duplicates(rows, 0.9))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_one_image_is_compared_with_the_whole_collection(planted, shelve) -> None:
    """Copies are found though there are more than one search brings; those of the same bytes are marked."""
    copies = perturbed(planted.whole[:1], 300, 1e-4)
    digests = [b"other" + bytes(27)] * 300 + [b"own" + bytes(29)]
    shelf = shelve([*copies, planted.whole[0], *planted.whole[1:]], digests + [b""] * 7)
    found = find_duplicates_of(shelf, planted.whole[0], b"own" + bytes(29))
    assert {member.id for member in found} == set(map(str, range(301)))
    assert [member.id for member in found if member.exact] == ["300"]
    assert find_duplicates_of(shelf, -planted.whole[0], b"") == []


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(planted, read, shelve, threshold: float) -> None:
    """With its value."""
    for find in (
        lambda: find_duplicates(read(planted.whole), threshold),
        lambda: find_duplicates_of(shelve(planted.whole), planted.whole[0], b"", threshold),
    ):
        with pytest.raises(InvalidArgument, match=f"over 0 and at most 1, not {threshold:g}"):
            find()


def test_one_image_has_its_copies_whatever_their_vectors(planted, shelve) -> None:
    """As in groups: other numerics may have computed them."""
    vector, other = planted.whole[0], planted.whole[1]
    shelf = shelve([vector, other], digests=[b"a" * 32, b"a" * 32])
    near, far = find_duplicates_of(shelf, vector, b"a" * 32)
    assert (near.id, near.exact, far.id, far.exact) == ("0", True, "1", True)
    assert far.score < near.score == 1
