"""Images in groups of their kind: k-means over the embeddings' principal components.

The number of clusters, when nobody says it, is the one of the highest
simplified silhouette (Hruschka, de Castro and Campello, "Evolutionary
algorithms for clustering gene-expression data", 2004): the mean over the
images of (b - a) / max(a, b), with a the distance to the centre of its own
cluster and b that to the next one. It is 1 where clusters are far apart and 0
where they overlap. The own centre is taken without the image itself, which
would draw it near: otherwise noise in many small clusters would look tidy.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from extractor.errors import InvalidArgument
from extractor.exploring.axes import Axes, principal_axes
from extractor.exploring.pairs import TILE
from extractor.exploring.rows import Places, Rows
from extractor.exploring.watching import Watch, unwatched
from extractor.results import Vector

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

MOST = 50
"""How many clusters are tried at most when the number is to be found."""

_AXES = 64
_SAMPLE = 20_000  # images that the centres are fitted to; all are assigned
_TRIED = 4_000  # images that the number is chosen by
_SMALLEST = 4  # images of a cluster on average, at least, when the number is to be found
_STEP = 1.25


@dataclass(frozen=True, slots=True)
class Cluster:
    """Images of a kind.

    Attributes
    ----------
    places : int64 array
        Rows, the most typical first.
    distances : float32 array
        Of each to the cluster's centre.
    labels : sequence of (str, int)
        The labels of its images and how many have each, the most frequent
        first; those without a label are not counted.
    """

    places: Places
    distances: NDArray[np.float32]
    labels: Sequence[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.places)


class Clusters(NamedTuple):
    """A collection in clusters, the largest first.

    Attributes
    ----------
    clusters : list of Cluster
    silhouette : float
        The simplified silhouette of the images that the centres were fitted to.
    tried : dict of int to float
        The silhouette of each number that was tried; empty when it was given.
    """

    clusters: list[Cluster]
    silhouette: float
    tried: dict[int, float]


def find_clusters(rows: Rows, k: int | None = None, watch: Watch = unwatched) -> Clusters:
    """Divide all images into `k` clusters; the same images give the same clusters.

    Parameters
    ----------
    rows : Rows
    k : int, optional
        When not given, the number up to `MOST` whose simplified silhouette is
        the highest.
    watch : Watch
        Is shown the tiles that are read, and the numbers that are tried.

    Raises
    ------
    InvalidArgument
        When `k` is under 1 or over the number of images.
    """
    if k is not None and not 1 <= k <= len(rows):
        raise InvalidArgument(f"{len(rows):,} images make 1 to {len(rows):,} clusters, not {k:,}")
    axes = principal_axes(rows, _AXES, watch)
    sample = _project(rows, axes, _sampled(len(rows), max(_SAMPLE, 10 * (k or 0))))
    tried = {} if k else _try(sample[_sampled(len(sample), _TRIED)], watch)
    fitted = _fit(sample, k or max(tried, key=lambda k: tried[k]))
    near = [_nearest_centre(fitted, axes.project(units)) for units in rows.tiles(TILE)]
    codes, distances = (np.concatenate(parts) for parts in zip(*near, strict=True))
    labelled = rows.codes
    clusters = [_cluster(rows, labelled, places, distances[places]) for places in _split(codes)]
    return Clusters(clusters, _silhouette(fitted, sample), tried)


def _sampled(count: int, size: int) -> Places:
    """Places of at most `size` of so many rows, rising; always the same ones."""
    if count <= size:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False))


def _project(rows: Rows, axes: Axes, places: Places) -> Vector:
    parts = [places[start : start + TILE] for start in range(0, len(places), TILE)]
    return np.concatenate([axes.project(rows.at(part)) for part in parts])


def _try(sample: Vector, watch: Watch) -> dict[int, float]:
    """The silhouette of numbers of clusters: some in growing steps, then all that are next to the best."""
    most = min(MOST, max(2, len(sample) // _SMALLEST), len(np.unique(sample, axis=0)))
    if most < 2:
        return {1: 0.0}
    steps = _steps(most)
    tried: dict[int, float] = {}
    for k in watch(steps, len(steps), "try", " numbers of clusters"):
        tried[k] = _silhouette(_fit(sample, k), sample)
    best = max(steps, key=lambda k: tried[k])
    around = [k for k in range(*_neighbours(steps, best)) if k not in tried]
    for k in watch(around, len(around), "try", " numbers of clusters"):
        tried[k] = _silhouette(_fit(sample, k), sample)
    return dict(sorted(tried.items()))


def _steps(most: int) -> list[int]:
    steps = [2]
    while steps[-1] < most:
        steps.append(min(most, max(steps[-1] + 1, int(steps[-1] * _STEP))))
    return steps


def _neighbours(steps: list[int], best: int) -> tuple[int, int]:
    """The span between the steps before and after the best."""
    place = steps.index(best)
    return steps[max(place - 1, 0)], steps[min(place + 1, len(steps) - 1)]


def _fit(sample: Vector, k: int) -> KMeans:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():  # threads wait longer here than they work
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than clusters
        return KMeans(k, n_init=4, max_iter=100, random_state=0).fit(sample)


def _silhouette(fitted: KMeans, sample: Vector) -> float:
    """The simplified silhouette; an image that is alone in its cluster counts 0, as usual."""
    count = len(fitted.cluster_centers_)
    if count < 2:
        return 0.0
    starts = range(0, len(sample), TILE)  # of many clusters, all distances at once would fill the memory
    own, other = np.concatenate([_two_least(fitted.transform(sample[at : at + TILE])) for at in starts]).T
    sizes = np.bincount(fitted.labels_, minlength=count)[fitted.labels_]
    shared = sizes > 1
    own = own * sizes / np.maximum(sizes - 1, 1)  # to the centre of the others in its cluster
    larger = np.maximum(own, other)
    worth = np.divide(other - own, larger, out=np.zeros_like(own), where=shared & (larger > 0))
    return float(worth.mean())


def _two_least(distances: Vector) -> Vector:
    least: Vector = np.partition(distances, 1, axis=1)[:, :2].copy()  # not a part that keeps the whole
    return least


def _nearest_centre(fitted: KMeans, points: Vector) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    distances = fitted.transform(points)
    return distances.argmin(axis=1), distances.min(axis=1).astype(np.float32)


def _split(codes: NDArray[np.int64]) -> Iterator[Places]:
    """The places of each code, the largest cluster first."""
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return iter(sorted(parts, key=lambda places: (-len(places), places[0])))


def _cluster(rows: Rows, codes: NDArray[np.int32], places: Places, distances: NDArray[np.float32]) -> Cluster:
    order = np.argsort(distances, kind="stable")
    _, first, counts = np.unique(codes[places], return_index=True, return_counts=True)
    named = ((rows.label(int(places[place])), int(count)) for place, count in zip(first, counts, strict=True))
    labels = [(label, count) for label, count in named if label]
    labels.sort(key=lambda pair: (-pair[1], pair[0]))
    return Cluster(places[order], distances[order], labels)
