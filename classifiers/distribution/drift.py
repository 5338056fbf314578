"""Whether the images a head is asked about are still like those it was fitted on: two two-sample tests.

*Distances.* How far each live image is from the nearest class, by the
Mahalanobis distance that finds unknown images, against the distances of the
images that the head was tested on: the test of Kolmogorov and Smirnov, which
sees any change of the distribution.

*Classes.* How often each class is answered, live against the images that the
head was tested on: Pearson's test of homogeneity on the two rows of counts.
This is black-box shift detection, Lipton, Wang and Smola, Detecting and
Correcting for Label Shift with Black Box Predictors (2018); Rabanser,
Günnemann and Lipton, Failing Loudly (2019), compare it with others.

Both compare rows that nothing was fitted on with rows that nothing was fitted
on. Where nothing has moved each says so wrongly at its rate, whatever the
embeddings' distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifiers.distribution.live import Live, Sighting
from classifiers.distribution.rejection import Rejection
from classifiers.heads import Head
from extractor.heads_wire.values import FEWEST, Drift, DriftTest, Unusual

LEAST_EXPECTED = 5.0
"""Of a class among the answers, for Pearson's test; rarer classes are put together."""

MOST_UNUSUAL = 20


def drift_of(head: Head, version: int, live: Live) -> Drift:
    """How far what a head was lately asked about is from what it was fitted on.

    Parameters
    ----------
    head : Head
    version : int
        Of the head.
    live : Live
        Its sample.
    """
    sightings, seen = live.sample()
    name, rejection = head.manifest.name, head.rejection
    if rejection is None or len(sightings) < FEWEST:
        return Drift(name, version, len(sightings), seen, unusual=_unusual(head, sightings))
    distances = np.array([each.distance for each in sightings])
    test = compare_distances(distances, rejection)
    ratio = float(np.median(distances) / max(float(np.median(rejection.held_out)), 1e-12))
    return Drift(
        name=name,
        version=version,
        images=len(sightings),
        seen=seen,
        distance=test,
        classes=_compare_answers(head, [each.place for each in sightings]),
        ratio=ratio if test else None,
        unknown=float((distances > rejection.threshold).mean()),
        expected_unknown=rejection.measured.false_rejects,
        unusual=_unusual(head, sightings),
    )


def compare_distances(live: NDArray[np.float64], rejection: Rejection) -> DriftTest | None:
    """Kolmogorov and Smirnov's test of live distances, of shape (m,), against the held-out ones."""
    from scipy.special import kolmogorov

    held_out = rejection.held_out
    if rejection.measured.rejected is None or min(len(live), len(held_out)) < FEWEST:
        return None
    statistic = largest_gap(live, held_out)
    size = len(live) * len(held_out) / (len(live) + len(held_out))
    return DriftTest("kolmogorov-smirnov", statistic, float(kolmogorov(np.sqrt(size) * statistic)))


def largest_gap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference between two empirical distribution functions."""
    one, other = np.sort(one), np.sort(other)
    at = np.concatenate([one, other])
    shares = [np.searchsorted(each, at, side="right") / len(each) for each in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def compare_counts(live: NDArray[np.int64], held_out: NDArray[np.int64]) -> DriftTest | None:
    """Pearson's test that two rows of counts, of shape (classes,), are of one distribution.

    Returns
    -------
    DriftTest or None
        None when all answers are of one class, or nearly so.
    """
    from scipy.special import chdtrc

    table = np.array([live, held_out], np.float64)
    share = table.sum(axis=1, keepdims=True) / table.sum()
    rare = (share * table.sum(axis=0)).min(axis=0) < LEAST_EXPECTED
    columns = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    expected = share * columns.sum(axis=0)
    usable = expected.min(axis=0) >= LEAST_EXPECTED
    if usable.sum() < 2:
        return None
    parts = (columns - expected)[:, usable] ** 2 / expected[:, usable]
    statistic = float(parts.sum())
    return DriftTest("chi-squared", statistic, float(chdtrc(int(usable.sum()) - 1, statistic)))


def _compare_answers(head: Head, places: Sequence[int]) -> DriftTest | None:
    """Live answers against those to the images that the head was tested on, where it says which."""
    confusion = np.asarray(head.manifest.metrics.get("confusion", []), np.int64)
    classes = len(head.manifest.classes)
    if head.model.multi_label or confusion.shape != (classes, classes) or confusion.sum() < FEWEST:
        return None
    live = np.bincount([place for place in places if place < classes], minlength=classes)
    return compare_counts(live, confusion.sum(axis=0))


def _unusual(head: Head, sightings: Sequence[Sighting]) -> list[Unusual]:
    furthest = sorted(sightings, key=lambda each: -each.distance)[:MOST_UNUSUAL]
    classes = head.manifest.classes
    return [
        Unusual(each.id, each.digest, each.distance, classes[each.place] if each.place < len(classes) else "")
        for each in furthest
    ]
