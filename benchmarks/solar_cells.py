"""Defective or not, 2,624 solar cells: the accuracy of what is chosen on the training part alone.

    python -m benchmarks.solar_cells [--data DIR] [--splits 10]

The task of Deitsch et al., Automatic classification of defective photovoltaic
module cells in electroluminescence images (2019): every label, cut at 0.5.
They have 82.44 % with a support vector machine on hand-made features and
88.42 % with a fine-tuned network, on one split of 75 / 25.

Here the backbone stays frozen. In each of ten stratified splits, layers, size,
views and kind of head are those whose out-of-fold answers on the training part
are right most often; the test part is looked at once. The pictures have no
module's number, so that cells of one module can be on both sides, as with them.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import NamedTuple

import click
import numpy as np

from benchmarks.fit_head import TASKS
from benchmarks.machine import describe
from classifiers.data.features import Features, embed
from classifiers.data.splits import split
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
KINDS = ("logistic", "rbf-svm")
MUST, PUBLISHED = 0.87, 0.8842


class Candidate(NamedTuple):
    """What could be taken: features, a kind of head with its setting, and how it did out of fold."""

    variant: Variant
    labelled: Labelled
    recipe: Recipe
    choice: Choice

    @property
    def right(self) -> float:
        return float(np.mean(self.choice.logits.argmax(axis=1) == self.labelled.y))


def embedded(variant: Variant, data: DataFolder) -> Features:
    export(DEFAULT_BACKBONE, data, variant)
    with Embedder(DEFAULT_BACKBONE + variant.suffix, data=data, precision="fp32") as source:
        return embed(source, TASKS["defective or not, probability > 0.5"])


def best(features: dict[Variant, Features], known: np.ndarray, seed: int) -> Candidate:
    """The candidate that is right most often on rows it had not seen, all of the training part."""
    candidates = []
    for variant, each in features.items():
        labelled = Labelled.of(each.X[known], each.y[known], groups=each.digests[known])
        for kind in KINDS:
            recipe = Recipe(kind, seed=seed)  # type: ignore[arg-type]
            candidates.append(Candidate(variant, labelled, recipe, choose(labelled, recipe)))
    return max(candidates, key=lambda candidate: candidate.right)


@click.command()
@data_option
@click.option("--splits", default=10, show_default=True)
def main(data: DataFolder, splits: int) -> None:
    print(describe())
    features = {variant: embedded(variant, data) for variant in VARIANTS}
    first = features[VARIANTS[0]]
    accuracies, chosen = [], Counter[str]()
    for seed in range(splits):
        known, unseen = split(first.y, first.digests, 0.25, seed)
        found = best(features, known, seed)
        model, _ = fit(found.labelled, found.recipe, found.choice)
        answers = np.asarray(found.labelled.classes)[
            model.scores(features[found.variant].X[unseen]).argmax(1)
        ]
        accuracies.append(float(np.mean(answers == first.y[unseen])))
        chosen[f"{DEFAULT_BACKBONE}{found.variant.suffix}, {found.choice.kind}"] += 1
        print(f"split {seed}: {accuracies[-1]:.1%}, out of fold {found.right:.1%}", flush=True)
    mean, spread = statistics.mean(accuracies), statistics.pstdev(accuracies)
    print(f"mean {mean:.2%}, deviation {spread:.2%}; must {MUST:.0%}; the fine-tuned network {PUBLISHED:.2%}")
    for name, count in chosen.most_common():
        print(f"{count} of {splits}: {name}")


if __name__ == "__main__":
    main()
