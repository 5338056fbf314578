"""Heads against what a careful script with scikit-learn has on the same splits, task by task.

    python -m benchmarks.reference [--data DIR] [--splits 3] [--task NAME ...]

The script: `StandardScaler`, `LogisticRegression` with the best of 45 penalties
over eleven decades by the accuracy in five stratified folds; and, beside
`auto`, also `SVC` over a grid of penalties and widths, the better of the two by
the same folds. Ours sees the same rows and nothing else. Printed are points
of accuracy on the rows that were held out, the mean over splits with its
standard error, and the task that is furthest behind. Where most rows are tested
on, those of several splits are nearly the same: the error is of what was fitted on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import click
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.fit_head import TASKS, cells, mixtures
from benchmarks.machine import describe
from benchmarks.perturbed import cuts
from classifiers import fit_head
from classifiers.data.dataset import Dataset
from classifiers.data.features import Features, embed
from classifiers.data.splits import split
from extractor import Embedder
from extractor.cli.options import data_option
from extractor.settings import DataFolder

MOST_BEHIND = 0.3
"""Points, on any task."""

DEFECTS = "defective or not, probability > 0.5"
PENALTIES = np.logspace(-6, 5, 45)
COSTS, GAMMAS = (0.1, 1.0, 10.0, 100.0), (0.1, 0.3, 1.0, 3.0)

Matrix: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[Any]
Answers: TypeAlias = NDArray[Any]


class Task(NamedTuple):
    """Rows of shape (n, dim), their labels, which of them are never parted, and the share to test on."""

    X: Matrix
    y: Places
    groups: Places
    unseen: float = 0.25


class Sides(NamedTuple):
    """The rows to fit on and those to test on."""

    X: Matrix
    y: Places
    unseen: Matrix
    truth: Places


def tasks(data: DataFolder) -> dict[str, Callable[[], Task]]:
    """By name, made when they are wanted."""
    photos = {**TASKS, "four: probability": cells(lambda p, _: f"{p:.2f}")}
    found: dict[str, Callable[[], Task]]
    found = {f"cells, {name}": partial(_photos, dataset, data) for name, dataset in photos.items()}
    found |= {f"cells, {DEFECTS}, {n} of them": partial(_photos, TASKS[DEFECTS], data, n) for n in (200, 600)}
    found["small cuts of 20 pictures"] = partial(_cuts, data)
    for classes in (2, 10):
        found[f"mixtures, {classes} classes of a noisy teacher"] = partial(_mixtures, data, classes)
    for load in (load_digits, load_breast_cancer, load_wine):
        found[load.__name__.removeprefix("load_")] = partial(_matrix, load)
    return found


def _photos(dataset: Dataset, data: DataFolder, count: int | None = None) -> Task:
    """Three quarters of them to fit on, or so many; the rest to test on."""
    features = _embedded(dataset, data)
    unseen = 1 - count / len(features.y) if count else 0.25
    return Task(features.X, features.y, features.groups, unseen)


def _mixtures(data: DataFolder, classes: int, count: int = 2000) -> Task:
    """Fitted on so many, and tested on ten times as many: on 500 a point is five answers."""
    made = mixtures(_embedded(TASKS[DEFECTS], data), 11 * count, classes)
    return Task(made.X, made.y, made.groups, 10 / 11)


def _matrix(load: Callable[..., Any]) -> Task:
    X, y = load(return_X_y=True)
    return Task(X.astype(np.float32), y, np.arange(len(y)))


def _embedded(dataset: Dataset, data: DataFolder) -> Features:
    with Embedder(data=data) as source:
        return embed(source, dataset)


def _cuts(data: DataFolder, pictures: int = 20, each: int = 200) -> Task:
    """A class for each of so many pictures of scikit-image, of small cuts of it: thirty of each to fit on."""
    import skimage

    draw = np.random.default_rng(0)
    files = sorted(Path(skimage.__file__).parent.joinpath("data").glob("*.png"))
    opened = (PIL.Image.open(file).convert("RGB") for file in files[:pictures])
    small = [cut for picture in opened for cut in islice(cuts(picture, draw, 0.08, 0.2), each)]
    with Embedder(data=data) as source:
        found = [result.embedding for result in source.stream(small)]
    X = np.stack([embedding for embedding in found if embedding is not None])
    return Task(X, np.repeat(np.arange(len(X) // each), each), np.arange(len(X)), 1 - 30 / each)


def script(sides: Sides, seed: int) -> dict[str, tuple[float, Answers]]:
    """Of each kind the accuracy in cross-validation, and its answers to the unseen rows."""
    folds = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(sides.X, sides.y))
    parts = [Sides(sides.X[known], sides.y[known], sides.X[held], sides.y[held]) for known, held in folds]
    found = {}
    for kind, answers in (("logistic", _logistic), ("svc", _machine)):
        shares = np.mean([(answers(part) == part.truth).mean(axis=1) for part in map(_scaled, parts)], axis=0)
        best = int(shares.argmax())
        found[kind] = float(shares[best]), answers(_scaled(sides), best)[0]
    return found


def _scaled(sides: Sides) -> Sides:
    scale = StandardScaler().fit(sides.X)
    return sides._replace(X=scale.transform(sides.X), unseen=scale.transform(sides.unseen))


def _logistic(sides: Sides, only: int | None = None) -> Answers:
    """With each penalty, or one of them, the answers to the unseen rows; each fit begins where one ended."""
    model = LogisticRegression(max_iter=1000, warm_start=True)
    wanted = PENALTIES if only is None else PENALTIES[only : only + 1]
    return np.stack(
        [model.set_params(C=C).fit(sides.X, sides.y).predict(sides.unseen) for C in wanted.tolist()]
    )


def _machine(sides: Sides, only: int | None = None) -> Answers:
    grid = [(C, gamma) for C in COSTS for gamma in GAMMAS]
    wanted = grid if only is None else grid[only : only + 1]
    scale = 1 / (sides.X.shape[1] * sides.X.var())
    return np.stack(
        [SVC(C=C, gamma=g * scale).fit(sides.X, sides.y).predict(sides.unseen) for C, g in wanted]
    )


def measure(task: Task, splits: int) -> NDArray[np.float64]:
    """Of each split the accuracy of the script's two, of ours and of `auto`: shape (splits, 4), in points."""
    rows = []
    for seed in range(splits):
        known, unseen = split(task.y, task.groups, task.unseen, seed)
        sides = Sides(task.X[known], task.y[known], task.X[unseen], task.y[unseen])
        both = script(sides, seed)
        ours = [
            fit_head(sides.X, sides.y, kind=kind, groups=task.groups[known], seed=seed).predict(sides.unseen)
            for kind in ("logistic", "auto")
        ]
        answers = [both["logistic"][1], max(both.values(), key=lambda each: each[0])[1], *ours]
        rows.append([100 * np.mean(each == sides.truth) for each in answers])
    return np.array(rows)


def report(name: str, task: Task, points: NDArray[np.float64]) -> float:
    """One line of a task; the smaller of the two mean differences."""
    gaps = points[:, 2:] - points[:, :2]
    means, errors = gaps.mean(axis=0), gaps.std(axis=0, ddof=1) / len(gaps) ** 0.5
    kinds = ", ".join(
        f"{kind} {points[:, 2 + at].mean():.1f} ({means[at]:+.2f} ± {errors[at]:.2f})"
        for at, kind in enumerate(("logistic", "auto"))
    )
    fitted, dim = round(len(task.y) * (1 - task.unseen)), task.X.shape[1]
    tested = len(task.y) - fitted
    shape = f"{fitted:,} x {dim}, {len(np.unique(task.y))} classes, tested on {tested:,}"
    print(
        f"{name}: {shape}; script {points[:, 0].mean():.1f} and {points[:, 1].mean():.1f}, {kinds}",
        flush=True,
    )
    return float(means.min())


@click.command()
@data_option
@click.option("--splits", default=3, show_default=True, type=click.IntRange(2))
@click.option("--task", "wanted", multiple=True, help="Only those whose names have this in them.")
def main(data: DataFolder, splits: int, wanted: tuple[str, ...]) -> None:
    print(describe())
    behind = {}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        for name, make in tasks(data).items():
            if not wanted or any(part in name for part in wanted):
                task = make()
                behind[name] = report(name, task, measure(task, splits))
    worst = min(behind, key=lambda name: behind[name])
    print(f"furthest behind: {worst}, {behind[worst]:+.2f} points; at most -{MOST_BEHIND}")


if __name__ == "__main__":
    main()
