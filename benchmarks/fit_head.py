"""What choosing the penalty, fitting and testing a head costs, on the 2,624 solar cells.

python -m benchmarks.fit_head [--data DIR] [--splits 4]

The embeddings are made first (or remembered) and are not counted. Beside the
sweep stands scikit-learn's own `LogisticRegressionCV` on the same matrix, and
one plain fit with the penalty already known: what no sweep can be faster than.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import elpv_dataset
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import describe
from classifiers.dataset import Dataset
from classifiers.features import Features, embed
from classifiers.fitting import fit
from classifiers.penalty import Penalty
from classifiers.recipes import Recipe
from classifiers.splits import split
from classifiers.training import train
from extractor import Embedder
from extractor.cli.options import data_option
from extractor.settings import DataFolder

LIMIT_S = 4.0
"""For two classes: sweep, fit and figures."""

CELLS = Path(elpv_dataset.__file__).parent / "data"


def cells(label_of: Callable[[float, str], str]) -> Dataset:
    rows = [line.split() for line in (CELLS / "labels.csv").read_text().splitlines()]
    return Dataset([str(CELLS / path) for path, _, _ in rows], [label_of(float(p), t) for _, p, t in rows])


TASKS = {
    "defective or not, probability > 0.5": cells(lambda p, _: "defective" if p > 0.5 else "ok"),
    "mono or poly": cells(lambda _, cell: cell),
    "eight: probability and type": cells(lambda p, cell: f"{cell} {p:.2f}"),
}


def measure(features: Features, recipe: Recipe, splits: int) -> None:
    seconds, accuracies = [], []
    for seed in range(splits):
        begun = time.perf_counter()
        training = train("benchmark", features, backbone="", recipe=Recipe(recipe.kind, recipe.scale, seed))
        seconds.append(time.perf_counter() - begun)
        accuracies.append(training.metrics.accuracy)
    median = statistics.median(seconds)
    print(
        f"  {recipe.kind:12} {recipe.scale:12} {median:6.2f} s ({median / LIMIT_S:.2f} of {LIMIT_S:.0f} s), "
        f"{median / plain(features, recipe, training.penalty):5.1f} plain fits; accuracy "
        f"{statistics.mean(accuracies):.1%} ({min(accuracies):.1%} to {max(accuracies):.1%})"
    )


def plain(features: Features, recipe: Recipe, penalty: Penalty) -> float:
    begun = time.perf_counter()
    fit(features.X, features.y, recipe, penalty)
    return time.perf_counter() - begun


def reference(features: Features) -> None:
    known, unseen = split(features.y, features.digests, 0.25, 0)
    judge = LogisticRegressionCV(
        Cs=10, cv=5, scoring="neg_log_loss", max_iter=1000, use_legacy_attributes=False
    )
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = make_pipeline(StandardScaler(), judge).fit(features.X[known], features.y[known])
    took = time.perf_counter() - begun
    accuracy = np.mean(head.predict(features.X[unseen]) == features.y[unseen])
    print(f"  LogisticRegressionCV(Cs=10, cv=5), seed 0: {took:.2f} s, accuracy {accuracy:.1%}")


@click.command()
@data_option
@click.option("--splits", default=4, show_default=True)
def main(data: DataFolder, splits: int) -> None:
    print(describe())
    for task, dataset in TASKS.items():
        with Embedder(data=data) as source:
            features = embed(source, dataset)
        print(f"{task}: {features.X.shape[0]:,} x {features.X.shape[1]}, stratified 75/25, {splits} splits")
        for kind in ("logistic", "linear-svm"):
            measure(features, Recipe(kind), splits)
        reference(features)


if __name__ == "__main__":
    main()
