"""Where the labels of a head come from: options, and the rows that they name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from extractor.cli.collections.choosing import filter_option
from extractor.cli.fitting import embedded, viewed
from extractor.cli.options import backbone_of
from extractor.cli.progress import progress
from extractor.settings import DataFolder

if TYPE_CHECKING:
    from classifiers.data.dataset import Dataset
    from classifiers.data.features import Features
    from extractor.collections import Filter
    from extractor.results import Embeds

F = TypeVar("F", bound=Callable[..., Any])
Open = Callable[..., Any]
ClassWeight = Literal["balanced"] | Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Source:
    """What the user said of the labels: see `labelled_options`."""

    source: Path | None
    collection: str | None
    where: Filter | None
    test: Path | None
    split: Path | None
    multi_label: bool
    near: float | None
    augment: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows to fit a head on.

    Attributes
    ----------
    features : Features
    test : Features or None
        Those that the user wants tested on.
    backbone : str
    seconds : dict of float
        By stage.
    """

    features: Features
    test: Features | None
    backbone: str
    seconds: dict[str, float]


def _as_weights(_ctx: click.Context, _param: click.Parameter, value: str | None) -> ClassWeight:
    if value is None:
        return None
    if value == "balanced":
        return "balanced"
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(type(each) in (int, float) for each in found.values()):
        raise click.BadParameter('say balanced, or JSON such as {"cat": 2, "dog": 0.5}')
    return found


def _as_augmentations(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    if not values:
        return ()
    from classifiers.data.augmentation import views_of
    from extractor.errors import InvalidArgument

    names = tuple(dict.fromkeys(name.strip() for value in values for name in value.split(",")))
    try:
        views_of(names)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from None
    return names


_PATH: Any = click.Path(path_type=Path)
_OPTIONS = (
    click.argument("source", metavar="[SOURCE]", type=_PATH, required=False),
    click.option("--collection", help="Take the labelled items of this collection; nothing is embedded."),
    filter_option,
    click.option(
        "--test",
        type=_PATH,
        help="Test on these images (a folder or table like SOURCE) and fit on all of SOURCE.",
    ),
    click.option(
        "--split",
        type=_PATH,
        help="Take the parts that an earlier fit has written: split.csv in its version's folder.",
    ),
    click.option("--multi-label", is_flag=True, help="An image may have several labels: cat|dog in a table."),
    click.option(
        "--near-duplicates",
        "near",
        type=click.FloatRange(0, 1, min_open=True),
        help="From what likeness (a cosine) on two images are never parted; 1 for exact copies only. "
        "[default: from 0.95 on, as the images allow]",
    ),
    click.option(
        "--augment",
        metavar="VIEWS",
        multiple=True,
        callback=_as_augmentations,
        help="Fit on changed views of each image, too: hflip, vflip, flips, rotations, crops, brightness; "
        "several with commas. Tested on are the images as they are.",
    ),
)

class_weight_option = click.option(
    "--class-weight",
    metavar="balanced|JSON",
    callback=_as_weights,
    help='What an image of each class counts: balanced, or as in {"cat": 2}.',
)


def labelled_options(command: F) -> F:
    """Add what says where the labels come from; it reaches the command as one `labelled`."""

    @wraps(command)
    def gathered(**settings: Any) -> Any:
        said = {each.name: settings.pop(each.name) for each in fields(Source)}
        return command(labelled=Source(**said), **settings)

    wrapped: Any = gathered
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    found: F = wrapped
    return found


def named_source(labelled: Source) -> Path:
    """The SOURCE; UsageError where none was named."""
    if labelled.source is None:
        raise click.UsageError("name a SOURCE")
    return labelled.source


def load(labelled: Source, data: DataFolder, open_embeds: Open, note: Callable[[str], None]) -> Loaded:
    """Read, embed where there are no vectors, and find what must not be parted.

    Parameters
    ----------
    labelled : Source
    data : DataFolder
    open_embeds : callable
        Opens what turns images into embeddings; `own` names the backbone of what is there already.
    note : callable
        Is told what the user should know.

    Raises
    ------
    InvalidArgument, NotFound
        When the source cannot be used.
    """
    from classifiers.data.duplicates import grouped
    from classifiers.data.split_files import take_split

    seconds: dict[str, float] = {}
    sources = _sources(labelled, data, note)
    with _timed(seconds, "embed"):
        features, backbone = _features(sources, open_embeds, labelled.augment)
    if unviewed := features[0].unviewed:
        note(f"{unviewed} of {len(features[0].images)} images have no views: they are fitted on as they are")
    with _timed(seconds, "duplicates"):
        whole = features[0] if len(features) == 1 else features[0].tested_on(features[1])
        whole = grouped(whole, labelled.near, progress)
    if labelled.split:
        return Loaded(take_split(whole, labelled.split), None, backbone, seconds)
    return Loaded(*whole.parted(), backbone, seconds)


def _sources(labelled: Source, data: DataFolder, note: Callable[[str], None]) -> list[Any]:
    """To fit on, and to test on where that is named: (features, backbone), or a data set to embed."""
    from classifiers.data.labels import doubts

    if (labelled.source is None) == (labelled.collection is None):
        raise click.UsageError("name a SOURCE or a --collection, and not both")
    if labelled.where and not labelled.collection:
        raise click.UsageError("--filter is about the items of a --collection")
    if labelled.test and labelled.split:
        raise click.UsageError("--split says what is tested on: leave --test out")
    of_path = partial(_of_path, data=data, note=note, multi_label=labelled.multi_label)
    found = [of_path(labelled.source) if labelled.source else _of_collection(labelled, data, note)]
    if labelled.augment and labelled.source and isinstance(found[0], tuple):
        raise click.UsageError(f"--augment changes pictures, and {labelled.source} has vectors: leave it out")
    if labelled.test:
        found.append(of_path(labelled.test))
    for each in found:
        labels = each[0].texts if isinstance(each, tuple) else each.labels
        for doubt in doubts(labels, multi_label=labelled.multi_label):
            note(f"note: {doubt}")
    _check_early(*found)
    return found


def _of_collection(labelled: Source, data: DataFolder, note: Callable[[str], None]) -> tuple[Features, str]:
    from classifiers.data.labelled_items import from_collection
    from extractor.collections import Collection

    assert labelled.collection
    with Collection.open(data, labelled.collection) as target:
        features, unlabelled = from_collection(
            target, labelled.where, multi_label=labelled.multi_label, watch=progress
        )
        if unlabelled:
            note(f"{unlabelled} items of the collection {target.name!r} have no label and are passed over")
        return features, target.backbone


def _of_path(
    path: Path, *, data: DataFolder, note: Callable[[str], None], multi_label: bool
) -> tuple[Features, str] | Dataset:
    """Images to embed; or vectors, with the name that their backbone has here, if it has one."""
    from classifiers.data.dataset import Dataset
    from classifiers.data.matrices import is_matrix, read_matrix
    from classifiers.data.tables import unused
    from extractor.cli.bundles import exported_as

    if not is_matrix(path):
        if path.is_file() and (columns := unused(path)):
            note(f"note: columns of {path} that are not used: {', '.join(columns)}")
        return Dataset.read(path, multi_label=multi_label)
    features, origin = read_matrix(path, multi_label=multi_label)
    return features, exported_as(features.fingerprint, data) or origin


def _check_early(known: Any, unseen: Any = None) -> None:
    """Refuse before hours of embedding what can never work."""
    from classifiers.data.dataset import check_test, lone_classes
    from classifiers.data.labels import check_not_ids

    if isinstance(known, tuple):
        return
    pairs = [(label, known.images[row]) for label, row in known.members()]
    labels, pictures = ([pair[side] for pair in pairs] for side in (0, 1))
    if not known.multi_label:
        check_not_ids(labels, pictures)
    lone_classes(labels, pictures)
    if unseen is not None and not isinstance(unseen, tuple):
        test = [label for label, _ in unseen.members()]
        check_test(labels, pictures, test, unseen.images * (not known.multi_label))


def _features(sources: list[Any], open_embeds: Open, augment: Sequence[str]) -> tuple[list[Features], str]:
    """What is to be embedded, embedded; what is only tested on has no views."""
    own = next((each[1] for each in sources if isinstance(each, tuple)), None)
    if all(isinstance(each, tuple) for each in sources) and not augment:
        return [each[0] for each in sources], own or ""
    with open_embeds(**({"own": own} if own else {})) as embeds:
        known = _embedded(sources[0], embeds, augment)
        return [known, *(_embedded(each, embeds) for each in sources[1:])], own or backbone_of(embeds)


def _embedded(each: Any, embeds: Embeds, augment: Sequence[str] = ()) -> Features:
    if not isinstance(each, tuple):
        return embedded(embeds, each, augment=augment)
    features: Features = each[0]
    if features.fingerprint != embeds.fingerprint:
        from extractor.errors import FingerprintMismatch

        raise FingerprintMismatch("the vectors to fit on", embeds.fingerprint, features.fingerprint)
    return viewed(embeds, features, augment)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begun, 3)
