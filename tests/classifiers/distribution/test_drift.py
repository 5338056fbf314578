"""Drift on data whose truth is known: nothing has moved, distances have, or only the classes' shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers.data.features import Features
from classifiers.data.targets import Labelled
from classifiers.distribution.drift import compare_counts, compare_distances, drift_of, largest_gap
from classifiers.distribution.live import SAMPLE, Live, Sighting
from classifiers.distribution.rejection import Rejection
from classifiers.heads import Head
from classifiers.training.train import train

DIM, CLASSES = 32, 3
REPEATS = 200
LIVE = (30, 400)


class World:
    """Where rows come from: classes of one covariance with heavy tails, cut at zero as embeddings are."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.normal(size=(CLASSES, DIM))
        self.mixing = np.linalg.qr(self.rng.normal(size=(DIM, DIM)))[0] * np.linspace(1, 0.1, DIM)

    def draw(self, n: int, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> tuple[np.ndarray, np.ndarray]:
        y = self.rng.choice(CLASSES, n, p=shares)
        rows = self.centres[y] + self.rng.standard_t(6, (n, DIM)) @ self.mixing
        return np.maximum(rows, 0).astype(np.float32), y


def rejection_of(world: World, n: int = 300) -> Rejection:
    X, y = world.draw(n)
    known = 3 * n // 4
    measured = Rejection.fit(Labelled.of(X[:known], y[:known].astype(str)))
    assert measured
    return measured.tested(X[known:])


def head_of(world: World) -> Head:
    X, y = world.draw(600)
    digests = np.array([f"{row:064}" for row in range(len(X))])
    names = [str(row) for row in range(len(X))]
    features = Features(
        X=X, y=y.astype(str), digests=digests, images=names, fingerprint="f" * 64, rejected=[]
    )
    return train("worlds", features, backbone="none").head


def watched(head: Head, X: np.ndarray) -> Live:
    live = Live()
    assert head.rejection
    live.note(
        Sighting(distance, place, b"", str(row))
        for row, (distance, place) in enumerate(
            zip(
                head.rejection.distances(X).tolist(),
                head.predict_proba(X).argmax(axis=1).tolist(),
                strict=True,
            )
        )
    )
    return live


@pytest.fixture(scope="module")
def calm() -> np.ndarray:
    """The tests' probabilities where nothing has moved, in each world: of few live images and of many."""
    found = []
    for seed in range(REPEATS):
        world = World(seed)
        rejection, held_out = rejection_of(world), np.bincount(world.draw(150)[1], minlength=CLASSES)
        for live in LIVE:
            X, y = world.draw(live)
            distance = compare_distances(rejection.distances(X), rejection)
            classes = compare_counts(np.bincount(y, minlength=CLASSES), held_out)
            assert distance
            assert classes
            found.append((distance.p_value, classes.p_value))
    return np.array(found).reshape(REPEATS, len(LIVE), 2)


@pytest.mark.parametrize("live", range(2))
@pytest.mark.parametrize("test", [0, 1])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_where_nothing_has_moved_alarms_come_at_their_rate(
    calm: np.ndarray, test: int, live: int, rate: float
) -> None:
    """Within three standard errors of so many worlds, for both tests."""
    error = 3 * np.sqrt(rate * (1 - rate) / REPEATS)
    assert (calm[:, live, test] < rate).mean() <= rate + error


def test_planted_drift_is_found() -> None:
    """Rows that all moved by half a deviation, and rows of which a quarter is of a new class."""
    for seed in range(20):
        world = World(seed)
        rejection = rejection_of(world)
        moved = world.draw(300)[0] + np.float32(0.5)
        new = world.draw(300)[0]
        new[::4] += world.rng.normal(0, 2, DIM).astype(np.float32)
        for rows in (moved, new):
            test = compare_distances(rejection.distances(rows), rejection)
            assert test
            assert test.moved


def test_another_mix_of_the_same_classes_moves_the_classes_and_not_the_distances() -> None:
    world = World(1)
    head = head_of(world)
    rare = drift_of(head, 1, watched(head, world.draw(400, (0.05, 0.15, 0.8))[0]))
    same = drift_of(head, 1, watched(head, world.draw(400)[0]))
    assert rare.classes
    assert rare.classes.moved
    assert same.classes
    assert not same.classes.moved
    assert same.distance
    assert not same.distance.moved
    assert same.ratio == pytest.approx(1, abs=0.15)


def test_the_most_unusual_come_first_and_few_images_say_nothing() -> None:
    world = World(2)
    head = head_of(world)
    rows = world.draw(29)[0]
    rows[7] += 20
    few = drift_of(head, 3, watched(head, rows))
    assert (few.version, few.images, few.distance, few.classes, few.ratio) == (3, 29, None, None, None)
    assert few.unusual[0].id == "7"
    assert [each.distance for each in few.unusual] == sorted(
        (each.distance for each in few.unusual), reverse=True
    )


def test_a_head_that_was_tested_on_few_images_has_no_verdict_and_no_ratio() -> None:
    """What it is not compared with is no measure either; how many are unknown is said."""
    world = World(3)
    head = head_of(world)
    assert head.rejection
    few = replace(head, rejection=head.rejection.tested(world.draw(29)[0]))
    found = drift_of(few, 1, watched(few, world.draw(40)[0]))
    assert (found.distance, found.ratio) == (None, None)
    assert found.unknown is not None


def test_the_largest_gap_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    one, other = rng.normal(size=50).round(1), rng.normal(0.3, 1, 70).round(1)
    assert largest_gap(one, other) == pytest.approx(ks_2samp(one, other).statistic)


def test_rare_classes_are_counted_together() -> None:
    """And where all answers are of one class, there is nothing to compare."""
    from scipy.stats import chi2_contingency

    live, held_out = np.array([90, 60, 3, 2, 4]), np.array([100, 50, 2, 4, 3])
    found = compare_counts(live, held_out)
    together = [[90, 60, 9], [100, 50, 9]]
    assert found
    assert found.p_value == pytest.approx(chi2_contingency(together, correction=False).pvalue)
    assert compare_counts(np.array([100, 0]), np.array([50, 0])) is None


def test_a_sample_holds_the_last_images_and_none_twice() -> None:
    live = Live()
    for number in range(SAMPLE + 100):
        for _ in range(2):
            live.note([Sighting(float(number), 0, number.to_bytes(32, "big"), "")])
    sightings, seen = live.sample()
    assert seen == 2 * (SAMPLE + 100)
    assert [each.distance for each in sightings] == [float(number) for number in range(100, SAMPLE + 100)]


def test_a_sample_is_written_whole_and_read_again(tmp_path: Path) -> None:
    """What cannot be read is begun anew."""
    live = Live()
    live.note([Sighting(1.5, 2, b"d" * 32, "a/ü.png"), Sighting(0.25, 0, b"", "")])
    file = tmp_path / "live" / "0001.json"
    live.write(file, "a")
    assert Live.read(file, "a").sample() == live.sample()
    assert Live.read(file, "b").sample() == ([], 0), "it is another head's"
    for text in ("", "{}", "[1]", '{"format": 1, "seen": 3, "images": [[1]]}', '{"format": 9}'):
        file.write_text(text)
        assert Live.read(file, "a").sample() == ([], 0)
    assert Live.read(tmp_path / "absent", "a").sample() == ([], 0)
