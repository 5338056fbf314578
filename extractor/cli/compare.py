"""`penultimate compare-backbones`: which backbone, or layer, suits a task, and whether any does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.bundles import bundle_bytes
from extractor.cli.fitting import echo_left_out, embedded, fitting_options
from extractor.cli.main import SOME_FAILED
from extractor.cli.options import data_option, json_option, processor_options
from extractor.cli.variants import USUAL
from extractor.errors import DamagedFile, InvalidArgument, NotFound, Unavailable
from extractor.settings import DEFAULT_BACKBONE, DataFolder
from extractor.text import printable

if TYPE_CHECKING:
    from classifiers.comparing.comparison import Comparison, Entrant
    from classifiers.data.dataset import Dataset
    from classifiers.data.features import Features
    from extractor.backbones.bundle import Bundle
    from extractor.results import Embeds

COLOURS = "colours + 8x8 pixels"
"""The name of the baseline that looks at the pictures."""

TIMED_IMAGES, TIMED_SECONDS = 256, 3.0
"""What is timed for the rate: so many images, or as many as come in so many seconds."""


@click.command(
    epilog="""\b
Examples:
  penultimate compare-backbones photos/            photos/cat/*.jpg, photos/dog/*.jpg
  penultimate compare-backbones labels.csv --backbones efficientnet_lite0,efficientnet_lite2
  penultimate compare-backbones photos/ --backbones resnet50 --layers global_pool,layer3,layer3+layer4:max
  penultimate compare-backbones photos/ --head linear-svm --folds 10 --report comparison.html

\b
Each picture is answered by a head that was fitted without it, on the same folds for all. A backbone
that does not beat the best baseline, beyond what chance may do, is reported as negative transfer.
Exit codes: 0 all well, 3 compared but some images were left out (listed), 1 error.
"""
)
@click.argument("source", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "--backbones",
    multiple=True,
    metavar="A,B,...",
    help="Exported backbones, with commas between them or by more options. [default: all that are exported]",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="L,M+N,...",
    help="Compare these layers of one backbone: with commas between them, and + between those that are put "
    "together; global_pool is the usual one.",
)
@fitting_options("folds")
@click.option(
    "--folds", type=click.IntRange(2, 100), default=5, show_default=True, help="Of the cross-validation."
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table to this HTML file."
)
@processor_options
@data_option
@json_option
def command(
    source: Path,
    backbones: tuple[str, ...],
    layers: tuple[str, ...],
    kind: Any,
    folds: int,
    seed: int,
    report: Path | None,
    data: DataFolder,
    as_json: bool,
    provider: str,
    precision: str,
) -> int:
    """Fit the same head on each backbone's embeddings and say which does best.

    DATA is a folder with one sub-folder for each class, or a CSV file with a
    header and the columns path,label, as for fit-head.

    Two baselines stand beside the backbones: the commonest class, and the same
    head on the pictures' colours, for which nothing was learnt elsewhere.
    """
    from classifiers.comparing.comparison import compare
    from classifiers.data.dataset import Dataset, check_classes
    from classifiers.training.recipes import Recipe
    from extractor.backbones.bundle import Bundle
    from extractor.network import check

    names = _checked(data, backbones, layers, report)
    for name in names:
        check(Bundle.of(data, name), data, provider, precision)
    dataset = Dataset.read(source)
    check_classes(dataset.labels, dataset.images)
    entrants = [_baseline(dataset)]
    entrants += [_entrant(name, dataset, data, provider, precision) for name in names]
    comparison = compare(entrants, Recipe(kind, seed=seed), folds, _note_fit)
    if comparison.folds < folds:
        most = f"no class has {folds} distinct pictures"
        click.echo(f"{comparison.folds} folds are made in place of {folds}: {most}", err=True)
    _print(comparison, source, as_json=as_json, report=report)
    return SOME_FAILED if comparison.rejected else 0


def _checked(
    data: DataFolder, backbones: Sequence[str], layers: Sequence[str], report: Path | None
) -> list[str]:
    """The names of what is compared, all of it opened once before anything is embedded."""
    if report and not report.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {report.absolute().parent} to write {report.name} into")
    if not backbones and not layers:
        return _all_usable(data)
    names = _listed("--backbones", backbones or (DEFAULT_BACKBONE,))
    if layers:
        names = list(_layered(names, layers))
    bundles = {name: _usable(data, name) for name in names}
    if layers:
        _check_weights(bundles)
    return list(bundles)


def _all_usable(data: DataFolder) -> list[str]:
    """All that are exported; since nobody named them, one that cannot be used is left out and said."""
    from extractor.backbones.variant import name_of

    folders = sorted(data.backbones.glob("[!.]*/")) if data.backbones.is_dir() else []
    if not folders:
        raise NotFound(
            f"no backbone has been exported to {data.root}: run `penultimate export {DEFAULT_BACKBONE} "
            f"--data {data.root}`"
        )
    usable = []
    for name in (name_of(folder.name) for folder in folders):
        try:
            _usable(data, name)
            usable.append(name)
        except (DamagedFile, InvalidArgument, Unavailable) as error:
            click.echo(printable(f"left out: {name}: {error}"), err=True)
    if not usable:
        raise NotFound(f"no backbone in {data.root} can be used: see above for each")
    return usable


def _usable(data: DataFolder, name: str) -> Bundle:
    """The bundle, whole, and of a profile by which this machine can decode."""
    from extractor.backbones.bundle import Bundle
    from extractor.images import prepare

    bundle = Bundle.of(data, name)
    prepare(bundle.manifest.preprocessing)
    return bundle


def _check_weights(bundles: dict[str, Bundle]) -> None:
    """InvalidArgument when layers of two networks were about to be taken for those of one."""
    states = {name: bundle.manifest.weights.get("state_sha256") for name, bundle in bundles.items()}
    known = {name: state for name, state in states.items() if state is not None}
    first = next(iter(known), "")
    for name, state in known.items():
        if state != known[first]:
            raise InvalidArgument(
                f"{name} was made of other weights than {first}, and --layers compares those of one network: "
                "export one of them again with the weights of the other and --force"
            )


def _layered(names: list[str], layers: Sequence[str]) -> Iterator[str]:
    """The variants of one backbone that are cut at these layers."""
    from extractor.backbones.variant import split_name

    if len(names) != 1:
        raise InvalidArgument(f"--layers is about one backbone, and --backbones names {len(names)}: name one")
    backbone, variant = split_name(names[0])
    for text in _listed("--layers", layers):
        cuts = tuple(text.split("+"))
        yield backbone + replace(variant, layers=() if cuts in USUAL else cuts).suffix


def _listed(option: str, texts: Sequence[str]) -> list[str]:
    """What stands between the commas, of all times that the option was given."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if not names:
        raise InvalidArgument(f"{option} names nothing: give names with commas between them")
    return names


def _baseline(dataset: Dataset) -> Entrant:
    """The colours; what no head can tell apart is refused here, before hours of embedding."""
    from classifiers.comparing.comparison import Entrant
    from classifiers.data.dataset import check_classes
    from classifiers.evaluation.baselines import Colours

    with Colours() as colours:
        features = embedded(colours, dataset, "colours")
        check_classes(features.y.tolist(), features.digests.tolist())
        return Entrant(COLOURS, features, True, _rate(colours, features))


def _entrant(name: str, dataset: Dataset, data: DataFolder, provider: str, precision: str) -> Entrant:
    """Embed with one backbone; what is remembered is not computed, but for the images that are timed."""
    from classifiers.comparing.comparison import Entrant
    from extractor.embedder import Embedder

    open_embedder = partial(Embedder, name, data=data, provider=provider, precision=precision)
    with open_embedder() as embedder:
        features = embedded(embedder, dataset, name)
        size = bundle_bytes(embedder.bundle)
    with open_embedder(cache=None) as embedder:
        embedder.warm()
        return Entrant(name, features, False, _rate(embedder, features), size)


def _rate(source: Embeds, features: Features) -> float:
    """Images a second, from files to vectors; of copies only one, since they are computed together."""
    distinct = list(dict(zip(features.digests.tolist(), features.images, strict=True)).values())
    begun, done = time.perf_counter(), 0
    for _ in source.stream(distinct[:TIMED_IMAGES]):
        done += 1
        if time.perf_counter() - begun > TIMED_SECONDS:
            break
    return done / (time.perf_counter() - begun)


def _note_fit(name: str) -> None:
    click.echo(printable(f"fitting heads on {name}, settings chosen inside each fold …"), err=True)


def _print(comparison: Comparison, source: Path, *, as_json: bool, report: Path | None) -> None:
    from classifiers.comparing import report as comparison_report

    echo_left_out(comparison.rejected)
    facts = comparison_report.to_dict(comparison)
    click.echo(json.dumps(facts, indent=2) if as_json else comparison_report.to_text(comparison))
    if report:
        page = comparison_report.to_html(comparison, str(source), date.today())
        report.write_text(page, encoding="utf-8")
        click.echo(printable(f"wrote {report}"), err=True)
