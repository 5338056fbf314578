"""Clusters: planted kinds are found, and how many there are."""

import tracemalloc

import numpy as np
import pytest
from sklearn.cluster import KMeans

from extractor.errors import InvalidArgument
from extractor.exploring import clusters as clusters_
from extractor.exploring.clusters import find_clusters
from tests.extractor.exploring.conftest import PARTS, SUBJECTS, perturbed


def kinds(clusters) -> list[list[int]]:
    """The subjects of each cluster's members, in order."""
    return [sorted(set((cluster.places // PARTS).tolist())) for cluster in clusters]


@pytest.mark.parametrize("count", [3, 5, 8])
def test_planted_kinds_and_their_number_are_found(planted, read, count: int) -> None:
    """Parts of each picture are a cluster of their own."""
    found = find_clusters(read(planted.parts[: count * PARTS]))
    assert sorted(kinds(found.clusters)) == [[subject] for subject in range(count)]
    assert found.tried[count] == max(found.tried.values())
    assert found.silhouette == pytest.approx(found.tried[count])
    assert found.silhouette > 0.4


def test_a_given_number_is_taken(planted, read) -> None:
    """And nothing is tried."""
    found = find_clusters(read(planted.parts), 3)
    assert len(found.clusters) == 3
    assert sum(len(cluster) for cluster in found.clusters) == len(planted.parts)
    assert found.tried == {}
    sizes = [len(cluster) for cluster in found.clusters]
    assert sizes == sorted(sizes, reverse=True)


def test_the_most_typical_is_first(planted, read) -> None:
    """Distances to the centre rise."""
    for cluster in find_clusters(read(planted.parts), 4).clusters:
        assert (np.diff(cluster.distances) >= 0).all()


def test_labels_are_counted(planted, read) -> None:
    """The most frequent first; no label does not count."""
    labels = [SUBJECTS[place // PARTS] for place in range(3 * PARTS)]
    labels[0], labels[1] = None, "zebra"
    found = find_clusters(read(planted.parts[: 3 * PARTS], labels=labels), 3)
    by_first = {cluster.labels[0][0]: cluster.labels for cluster in found.clusters}
    assert by_first["astronaut"] == [("astronaut", PARTS - 2), ("zebra", 1)]
    assert by_first["brick"] == [("brick", PARTS)]


def test_the_same_images_give_the_same_clusters(planted, read) -> None:
    """Nothing is left to chance."""
    one, other = (find_clusters(read(planted.parts)) for _ in range(2))
    assert [c.places.tolist() for c in one.clusters] == [c.places.tolist() for c in other.clusters]
    assert one.tried == other.tried


def test_all_are_assigned_when_centres_are_fitted_to_a_sample(
    planted, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the images says where the centres are."""
    monkeypatch.setattr(clusters_, "_SAMPLE", 200)
    monkeypatch.setattr(clusters_, "_TRIED", 150)
    vectors = perturbed(planted.whole[:3], 2500)[:, :256]
    whole = planted.whole[:3, :256]
    found = find_clusters(read(vectors))
    assert len(found.clusters) == 3
    nearest = (vectors @ whole.T / np.linalg.norm(whole, axis=1)).argmax(axis=1)
    assert sorted(len(set(nearest[cluster.places])) for cluster in found.clusters) == [1, 1, 1]
    assert sum(len(cluster) for cluster in found.clusters) == 2500


def test_copies_are_one_cluster(planted, read) -> None:
    """Also when more are wanted than there are different images."""
    rows = read([planted.whole[0]] * 9)
    for k in (None, 1, 5):
        (cluster,) = find_clusters(rows, k).clusters
        assert len(cluster) == 9


def test_a_single_image_is_a_cluster(planted, read) -> None:
    """And two are at most two."""
    assert [len(cluster) for cluster in find_clusters(read(planted.whole[:1])).clusters] == [1]
    assert len(find_clusters(read(planted.whole[:2])).clusters) <= 2


def test_noise_around_one_picture_has_a_low_silhouette(planted, read) -> None:
    """So that nobody takes the clusters for kinds."""
    assert find_clusters(read(perturbed(planted.whole[:1], 200))).silhouette < 0.1


@pytest.mark.parametrize("k", [0, 9])
def test_a_number_that_cannot_be_is_refused(planted, read, k: int) -> None:
    """With how many images there are."""
    with pytest.raises(InvalidArgument, match=f"8 images make 1 to 8 clusters, not {k}"):
        find_clusters(read(planted.whole), k)


def test_the_silhouette_of_many_clusters_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All distances of 20,000 images to 500 centres would be 40 MB, and as much again to sort them."""
    points = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    fitted = KMeans(500, n_init=1, max_iter=1, random_state=0).fit(points)
    tracemalloc.start()
    found = clusters_._silhouette(fitted, points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    monkeypatch.setattr(clusters_, "TILE", len(points))
    assert clusters_._silhouette(fitted, points) == pytest.approx(found, abs=1e-6)
