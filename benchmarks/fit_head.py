"""What fitting a head costs: choosing its settings, fitting, calibrating, testing, and fitting again on all.

    python -m benchmarks.fit_head [--data DIR] [--splits 4] [--large]

On the 2,624 solar cells each kind, beside one plain fit with the settings
known: what no search can be faster than. On larger matrices, mixtures of the
cells' embeddings whose labels a teacher gives, the default kind beside its
must, each in a process of its own, for the sake of its peak memory, and a
class added to the head. On the smallest of them also scikit-learn's own
`LogisticRegressionCV`, over several draws: one says little. The embeddings
are made first (or remembered) and are not counted.
"""

from __future__ import annotations

import resource
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import elpv_dataset
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import describe
from classifiers import HeadClassifier
from classifiers.adding import add_class
from classifiers.data.dataset import Dataset
from classifiers.data.features import Features, embed
from classifiers.data.targets import Labelled
from classifiers.kinds import KINDS
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.train import Training, train
from extractor import Embedder
from extractor.cli.options import data_option
from extractor.settings import DataFolder

CELLS = Path(elpv_dataset.__file__).parent / "data"


class Must(NamedTuple):
    """A matrix, and within how many seconds the default head is to be fitted on it."""

    rows: int
    classes: int
    seconds: float


SMALL = (Must(2_000, 2, 3), Must(2_000, 10, 3))
ADDED = 1.0  # seconds
UNSEEN = 20_000  # rows, to compare accuracies on
LARGE = (Must(50_000, 10, 60), Must(50_000, 100, 300))


def cells(label_of: Callable[[float, str], str]) -> Dataset:
    rows = [line.split() for line in (CELLS / "labels.csv").read_text().splitlines()]
    return Dataset([str(CELLS / path) for path, _, _ in rows], [label_of(float(p), t) for _, p, t in rows])


TASKS = {
    "defective or not, probability > 0.5": cells(lambda p, _: "defective" if p > 0.5 else "ok"),
    "mono or poly": cells(lambda _, cell: cell),
    "eight: probability and type": cells(lambda p, cell: f"{cell} {p:.2f}"),
}


def fitted(features: Features, recipe: Recipe) -> tuple[Training, float]:
    begun = time.perf_counter()
    training = train("benchmark", features, backbone="", recipe=recipe)
    return training, time.perf_counter() - begun


def measure(features: Features, kind: str, splits: int) -> None:
    """One line for a kind: the time of a whole training, and the accuracy over some splits."""
    runs = [fitted(features, Recipe(kind, seed=seed)) for seed in range(splits)]  # type: ignore[arg-type]
    accuracies = [training.metrics.accuracy for training, _ in runs]
    median, training = statistics.median(took for _, took in runs), runs[0][0]
    print(
        f"  {kind:12} {median:6.2f} s, {median / plain(features, training):5.1f} plain fits; accuracy "
        f"{statistics.mean(accuracies):.1%} ({min(accuracies):.1%} to {max(accuracies):.1%})",
        flush=True,
    )


def plain(features: Features, training: Training) -> float:
    begun = time.perf_counter()
    fit(Labelled.of(features.X, features.y), Recipe(), training.choice)
    return time.perf_counter() - begun


def mixtures(real: Features, rows: int, classes: int) -> Features:
    """Rows between pairs of real embeddings; a linear teacher labels them, one in four by a die."""
    rng = np.random.default_rng(0)
    share = rng.uniform(0, 1, (rows, 1)).astype(np.float32)
    one, other = (rng.integers(0, len(real.X), rows) for _ in range(2))
    teacher = rng.normal(size=(real.X.shape[1], classes))
    X, scores = np.empty((rows, real.X.shape[1]), np.float32), np.empty((rows, classes))
    for start in range(0, rows, 4096):
        part = slice(start, start + 4096)
        X[part] = share[part] * real.X[one[part]] + (1 - share[part]) * real.X[other[part]]
        scores[part] = (X[part] - real.X.mean(axis=0)) / (real.X.std(axis=0) + 1e-3) @ teacher
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    y = np.where(rng.random(rows) < 0.25, rng.integers(0, classes, rows), scores.argmax(axis=1))
    names = [f"{row:06}" for row in range(rows)]
    return Features(
        X, np.array([f"class {each}" for each in y]), np.array(names), names, real.fingerprint, []
    )


def measure_matrix(real: Features, must: Must) -> None:
    features = mixtures(real, must.rows, must.classes)
    processor = time.process_time()
    training, took = fitted(features, Recipe())
    processor = time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in training.seconds.items())
    print(
        f"{must.rows:,} x {features.X.shape[1]}, {must.classes} classes: {took:.1f} s, "
        f"{took / must.seconds:.2f} of {must.seconds:.0f} s ({stages}), {processor:.1f} s of processor; "
        f"accuracy {training.metrics.accuracy:.1%}; peak {peak:.2f} GiB"
    )
    new = features.X[:200] + features.X.std(axis=0)
    begun = time.perf_counter()
    add_class(training.head, "another", new)
    print(f"  a class of 200 rows more: {time.perf_counter() - begun:.2f} s of {ADDED:.0f} s", flush=True)


def compare(real: Features, must: Must, draws: int) -> None:
    """The time and accuracy of scikit-learn's search and of ours, fitted on the same rows, several times.

    Tested on ten times as many: on a quarter of the rows themselves a point is five answers.
    """
    features, times, points = mixtures(real, UNSEEN + must.rows * draws, must.classes), [], []
    unseen, truth = features.X[:UNSEEN], features.y[:UNSEEN]
    for draw in range(draws):
        rows = slice(UNSEEN + draw * must.rows, UNSEEN + (draw + 1) * must.rows)
        heads = (reference(), HeadClassifier(seed=draw))
        begun = [time.perf_counter()]
        for head in heads:
            head.fit(features.X[rows], features.y[rows])
            begun.append(time.perf_counter())
        times.append(np.diff(begun))
        points.append([100 * np.mean(head.predict(unseen) == truth) for head in heads])
    seconds, gaps = np.median(times, axis=0), np.diff(points)
    print(
        f"{must.rows:,}, {must.classes} classes: LogisticRegressionCV(Cs=10, cv=5) takes {seconds[0]:.1f} s; "
        f"ours {seconds[1] / seconds[0]:.3f} of it, {gaps.mean():+.2f} ± "
        f"{gaps.std(ddof=1) / draws**0.5:.2f} points over {draws} draws",
        flush=True,
    )


def reference() -> Pipeline:
    judge = LogisticRegressionCV(
        Cs=10, cv=5, scoring="neg_log_loss", max_iter=1000, use_legacy_attributes=False
    )
    return make_pipeline(StandardScaler(), judge)


@click.command()
@data_option
@click.option("--splits", default=4, show_default=True, type=click.IntRange(2))
@click.option("--large", is_flag=True, help="Also 50,000 rows of 10 and of 100 classes: minutes.")
@click.option("--kind", "kinds", multiple=True, default=tuple(KINDS), help="For the solar cells.")
def main(data: DataFolder, splits: int, large: bool, kinds: tuple[str, ...]) -> None:
    print(describe(), flush=True)
    for task, dataset in TASKS.items():
        with Embedder(data=data) as source:
            features = embed(source, dataset)
        print(
            f"{task}: {features.X.shape[0]:,} x {features.X.shape[1]}, stratified 75/25, {splits} splits",
            flush=True,
        )
        for kind in kinds:
            measure(features, kind, splits)
    for must in SMALL + (LARGE if large else ()):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            alone.submit(measure_matrix, features, must).result()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for must in SMALL:
            compare(features, must, splits)


if __name__ == "__main__":
    main()
