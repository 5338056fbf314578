"""Defective or not, 2,624 solar cells: the accuracy of what is chosen on the training part alone.

    python -m benchmarks.solar_cells [--data DIR] [--splits 10]

The task of Deitsch et al., Automatic classification of defective photovoltaic
module cells in electroluminescence images (2019): every label, cut at 0.5.
They have 82.44 % with a support vector machine on hand-made features and
88.42 % with a fine-tuned network, on one split of 75 / 25.

Here the backbone stays frozen. In each of ten stratified splits, layers, size,
views and kind of head are those whose out-of-fold answers on the training part
are right most often; the test part is looked at once. Views are the mean
embedding of a picture and its mirror images, or rows of their own: the head is
fitted on them all, with the setting that the pictures alone have chosen, and
answers by the mean of its scores for all of them. The pictures have no module's
number, so that cells of one module can be on both sides, as with them.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import click
import numpy as np

from benchmarks.fit_head import TASKS
from benchmarks.machine import describe
from classifiers.data.features import Features, embed
from classifiers.data.splits import folds, split
from classifiers.data.targets import Labelled
from classifiers.training.fitting import fit
from classifiers.training.recipes import Recipe
from classifiers.training.selection import choose
from classifiers.training.tuning import Choice
from extractor import Embedder
from extractor.backbones.export import export
from extractor.backbones.variant import Variant
from extractor.cli.options import data_option
from extractor.settings import DEFAULT_BACKBONE, DataFolder

MIDDLE = tuple(f"blocks.{stage}:{pooling}" for stage in (2, 3, 4, 5) for pooling in ("avg", "max"))
VARIANTS = (
    Variant(),
    Variant(size=320),
    Variant(layers=MIDDLE, size=320),
    Variant(layers=MIDDLE, size=320, views="flips"),
)
AUGMENTED = VARIANTS[2]
"""Whose views are tried as rows of their own, too."""
KINDS = ("logistic", "rbf-svm")
MUST, PUBLISHED = 0.87, 0.8842


class Candidate(NamedTuple):
    """What could be taken: features, a kind of head with its setting, and how it did out of fold."""

    variant: Variant
    labelled: Labelled
    recipe: Recipe
    choice: Choice
    right: float

    def __str__(self) -> str:
        rows = ", fitted on flips" if self.labelled.fitted > len(self.labelled.X) else ""
        return f"{DEFAULT_BACKBONE}{self.variant.suffix}{rows}, {self.choice.kind}"


def embedded(variant: Variant, data: DataFolder) -> Features:
    export(DEFAULT_BACKBONE, data, variant)
    augment = ("flips",) if variant == AUGMENTED else ()
    with Embedder(DEFAULT_BACKBONE + variant.suffix, data=data, precision="fp32") as source:
        return embed(source, TASKS["defective or not, probability > 0.5"], augment=augment)


def answers(labelled: Labelled, recipe: Recipe, choice: Choice, rows: Labelled) -> np.ndarray:
    """The places of the classes of `rows`, by a head fitted on `labelled`: the mean over each row's views."""
    model, _ = fit(labelled, recipe, choice)
    scores = [model.scores(X) for X in (rows.X, *rows.views.transpose(1, 0, 2))]
    places: np.ndarray = np.mean(scores, axis=0).argmax(axis=1)
    return places


def candidates(variant: Variant, known: Labelled, recipe: Recipe) -> Iterator[Candidate]:
    """Of the pictures alone, and of their views as well where there are any."""
    plain = replace(known, views=known.views[:, :0])
    choice = choose(plain, recipe)
    yield Candidate(variant, plain, recipe, choice, float(np.mean(choice.logits.argmax(axis=1) == known.y)))
    if known.fitted > len(known.X):
        held = folds(known.y, known.groups, recipe.seed)
        told = np.empty_like(known.y)
        for number in range(held.max() + 1):
            part = held == number
            told[part] = answers(known.take(~part), recipe, choice, known.take(part))
        yield Candidate(variant, known, recipe, choice, float(np.mean(told == known.y)))


def best(rows: dict[Variant, Labelled], known: np.ndarray, seed: int) -> Candidate:
    """The candidate that is right most often on rows it had not seen, all of the training part."""
    found = (
        candidate
        for variant, each in rows.items()
        for kind in KINDS
        for candidate in candidates(variant, each.take(known), Recipe(kind, seed=seed))  # type: ignore[arg-type]
    )
    return max(found, key=lambda candidate: candidate.right)


@click.command()
@data_option
@click.option("--splits", default=10, show_default=True)
def main(data: DataFolder, splits: int) -> None:
    print(describe())
    features = {variant: embedded(variant, data) for variant in VARIANTS}
    rows = {
        variant: Labelled.of(each.X, each.y, groups=each.digests, views=each.views)
        for variant, each in features.items()
    }
    first = rows[VARIANTS[0]]
    accuracies, chosen = [], Counter[str]()
    for seed in range(splits):
        known, unseen = split(first.y, first.groups, 0.25, seed)
        found = best(rows, known, seed)
        test = rows[found.variant].take(unseen)
        if found.labelled.fitted == len(found.labelled.X):
            test = replace(test, views=test.views[:, :0])
        told = answers(found.labelled, found.recipe, found.choice, test)
        accuracies.append(float(np.mean(told == test.y)))
        chosen[str(found)] += 1
        print(f"split {seed}: {accuracies[-1]:.1%}, out of fold {found.right:.1%}", flush=True)
    mean, spread = statistics.mean(accuracies), statistics.pstdev(accuracies)
    print(f"mean {mean:.2%}, deviation {spread:.2%}; must {MUST:.0%}; the fine-tuned network {PUBLISHED:.2%}")
    for name, count in chosen.most_common():
        print(f"{count} of {splits}: {name}")


if __name__ == "__main__":
    main()
