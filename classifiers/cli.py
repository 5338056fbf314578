"""`fit-head`: labelled images in, a tested classifier out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.fitting import echo_left_out, embedded, fitting_options
from extractor.cli.labelled import (
    Loaded,
    Source,
    class_weight_option,
    labelled_options,
    load,
    named_source,
)
from extractor.cli.main import SOME_FAILED, run
from extractor.cli.options import data_option, json_option, open_source, source_options
from extractor.cli.progress import counting
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from classifiers.report.files import Report
    from classifiers.store.publishing import Published
    from classifiers.training.recipes import Recipe
    from classifiers.training.train import Training
    from extractor.results import Embeds


UNWEIGHTED = ("knn", "nearest-mean")
"""Kinds whose answers no weight of a class changes."""


@click.command(
    name="fit-head",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  fit-head photos/ --name pets             photos/cat/*.jpg, photos/dog/*.jpg
  fit-head labels.csv --name cells --seed 1
  fit-head train/ --test val/ --name bees --head linear-svm --json
  fit-head --collection holiday --filter "width > 300" --name places

\b
Exit codes: 0 all well, 3 fitted but some images were left out (listed), 1 error.
""",
)
@click.version_option(package_name="penultimate", prog_name="fit-head")
@labelled_options
@click.option("--name", required=True, help="The head's name; of one that is there a new version is made.")
@fitting_options("split")
@click.option(
    "--scale",
    type=click.Choice(["standardise", "normalise"]),
    default="standardise",
    show_default=True,
    help="Unit variance of each column, or unit length of each embedding.",
)
@class_weight_option
@click.option(
    "--test-size",
    type=float,
    default=0.25,
    show_default=True,
    help="The share of each class that is held out to test on, where neither SOURCE nor --test names one.",
)
@click.option(
    "--promote", is_flag=True, help="Let the new version answer from now on; the first does anyway."
)
@click.option(
    "--add-class",
    metavar="CLASS",
    help="Fit nothing again: SOURCE is a folder of images of this new class, and the head learns it.",
)
@click.option(
    "--no-report",
    "reported",
    flag_value=False,
    default=True,
    help="Write no report.html and report.json, and print nothing of what is found out for them: log loss, "
    "baseline of colours, gap, calibration, labels to check.",
)
@click.option(
    "--suggest",
    metavar="COLLECTION",
    help="Have the report name the unlabelled images of this collection that are worth a label most.",
)
@source_options
@data_option
@json_option
def command(
    labelled: Source,
    name: str,
    kind: Any,
    scale: Any,
    class_weight: Any,
    test_size: float,
    seed: int,
    promote: bool,
    add_class: str | None,
    reported: bool,
    suggest: str | None,
    data: DataFolder,
    as_json: bool,
    **where: Any,
) -> int:
    """Fit a classifier on labelled images and save it as a head.

    SOURCE is a folder with one sub-folder for each class (or train, val and test
    folders with these in them), a table (CSV or Parquet) with a header and the
    columns path,label and, if you like, split,group,weight, or a matrix (.npz or
    Parquet) with embeddings and labels. Or name a --collection.

    A part of each class is held out to test on; near duplicates are never on
    both sides. The settings are chosen by cross-validation on the rest. The
    head that is saved is then fitted on all images of SOURCE with these.
    """
    from classifiers.data.splits import check_test_size
    from classifiers.reporting import make_report
    from classifiers.store.publishing import publish
    from classifiers.store.versions import head_path
    from classifiers.training.recipes import Recipe

    head_path(name, data)
    open_embeds = partial(open_source, data, **where)
    if add_class is not None:
        if labelled.augment:
            raise click.UsageError("--add-class fits nothing again: leave --augment out")
        with open_embeds(own=_backbone(name, data)) as embeds:
            return _add_class(name, add_class, named_source(labelled), embeds, data, promote, as_json)
    check_test_size(test_size)
    _check_suggested(suggest, reported, data)
    loaded = load(labelled, data, open_embeds, _note)
    _note_unweighted(kind, class_weight)
    report = partial(make_report, data=data, suggest=suggest) if reported else None
    training, made = _trained(name, loaded, Recipe(kind, scale, seed, class_weight), test_size, report)
    published = publish(training, data, promote=promote, files=made.files() if made else None)
    facts, lines = _told(training, published, made)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(lines))
    return SOME_FAILED if training.rejected else 0


def _note_unweighted(kind: str, class_weight: object) -> None:
    if class_weight and kind in UNWEIGHTED:
        what = "--class-weight has a say only in its setting and in how sure it is"
        _note(f"note: {kind} counts all classes alike: {what}")


def _trained(
    name: str,
    loaded: Loaded,
    recipe: Recipe,
    test_size: float,
    report: Callable[..., Report] | None,
) -> tuple[Training, Report | None]:
    """Fit, test and report; what is left out, and how far it is, is said on standard error."""
    from classifiers.training.train import train

    features, test = loaded.features, loaded.test
    fitted = features if test is None else features.without(test)
    echo_left_out(fitted.rejected)
    views = f" and their augmented views ({features.views.shape[1]} each)" if features.augment else ""
    _note(f"fitting on {len(fitted.y)} images{views}: settings by cross-validation …")
    fit = partial(train, backbone=loaded.backbone, recipe=recipe, test_size=test_size)
    with counting("settings", unit=" settings") as steps:
        training = fit(name, features, test, note=steps.say, stage=steps.doing, tried=lambda _: steps.step())
        training = replace(training, seconds=loaded.seconds | training.seconds)
        if report:
            steps.doing("making the report")
        made = report(training, note=steps.say) if report else None
    echo_left_out(set(training.rejected) - set(fitted.rejected))
    return training, made


def _told(training: Training, published: Published, made: Report | None) -> tuple[dict[str, Any], list[str]]:
    """What is printed of a head that was fitted: as JSON, and as lines."""
    from classifiers import report

    path = published.saved.path
    facts = report.to_dict(training, path, False, made) | published.to_dict()
    return facts, [report.to_text(training, path, False, made), *published.lines()]


def _backbone(name: str, data: DataFolder) -> str:
    from classifiers.store.versions import load_head

    return load_head(name, data).manifest.backbone


def _add_class(
    name: str, label: str, source: Path, embeds: Embeds, data: DataFolder, promote: bool, as_json: bool
) -> int:
    """Teach the head that answers one class more."""
    from classifiers.training.extending import extend

    extension = extend(name, label, source, embeds, data, promote=promote, embedded=embedded)
    echo_left_out(extension.rejected)
    click.echo(json.dumps(extension.to_dict(), indent=2) if as_json else "\n".join(extension.lines()))
    return SOME_FAILED if extension.rejected else 0


def _check_suggested(collection: str | None, reported: bool, data: DataFolder) -> None:
    """What is suggested stands in the report; a collection that is not there is said before embedding."""
    from classifiers.reporting import check_collection

    if collection is None:
        return
    if not reported:
        raise click.UsageError("--suggest needs the report: leave --no-report out")
    check_collection(collection, data)


def _note(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """The entry point of `fit-head`."""
    run(command)
