"""What the commands share that fit heads on labelled images: options, and how pictures are embedded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from extractor.cli.progress import progress
from extractor.text import printable

if TYPE_CHECKING:
    from classifiers.data.dataset import Dataset, Rejected
    from classifiers.data.features import Features
    from extractor.results import Embeds

KINDS = ("logistic", "linear-svm", "rbf-svm", "knn", "nearest-mean", "ridge", "mlp", "auto")
"""As in `classifiers.training.recipes`, which would bring NumPy with it."""

MOST_LISTED = 20
"""Images that are left out, of which a line each is printed."""

F = TypeVar("F", bound=Callable[..., Any])


def fitting_options(seeded: str) -> Callable[[F], F]:
    """Add `--head`, which reaches the command as `kind`, and the `--seed` of what is `seeded`."""
    kind = click.option(
        "--head",
        "kind",
        type=click.Choice(KINDS),
        default="logistic",
        show_default=True,
        help="The kind of classifier; auto lets cross-validation decide.",
    )
    seed = click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help=f"Of the {seeded}."
    )

    def add(command: F) -> F:
        return kind(seed(command))

    return add


def embedded(
    source: Embeds, dataset: Dataset, doing: str = "embed", *, augment: Sequence[str] = ()
) -> Features:
    """The embeddings of the labelled images, with a line of progress that says what is being done."""
    from classifiers.data.features import embed

    features = embed(source, dataset, partial(progress, total=len(dataset.images), doing=doing))
    return viewed(source, features, augment)


def viewed(source: Embeds, features: Features, augment: Sequence[str]) -> Features:
    """The same with the augmented views that are asked for, with a line of progress of their own."""
    if not augment:
        return features
    from classifiers.data.augmentation import views_of, with_views

    total = len(features.images) * len(views_of(augment))
    return with_views(
        source, features, augment, partial(progress, total=total, doing="augment", unit=" views")
    )


def echo_left_out(rejected: Iterable[Rejected]) -> None:
    """Say on standard error which images were left out, and why; of many how many more.

    In the order of their names, row 4 before row 10.
    """
    listed = sorted(rejected, key=lambda each: _counted(each.image))
    for each in listed[:MOST_LISTED]:
        click.echo(printable(f"left out: {each.image}: {each.reason}"), err=True)
    if (more := len(listed) - MOST_LISTED) > 0:
        click.echo(f"left out: {more:,} images more, {len(listed):,} in all; --json lists them", err=True)


def _counted(name: str) -> list[tuple[int, str]]:
    """By which names are ordered as one counts: a number by its length, then by its digits."""
    parts = re.split(r"([0-9]+)", name)
    digits = [part.lstrip("0") for part in parts[1::2]]
    numbers = [(len(number), number) for number in digits]
    texts = [(0, text) for text in parts[::2]]
    return [each for pair in zip(texts, [*numbers, (0, "")], strict=True) for each in pair]
