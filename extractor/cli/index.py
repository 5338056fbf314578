"""`penultimate index`: image files into a collection."""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.building import build
from extractor.cli.facts import Said, facts_from, facts_options
from extractor.cli.main import INTERRUPTED
from extractor.cli.options import backbone_of, data_option, json_option, open_source, source_options
from extractor.cli.outcomes import Tally, checked_suffix, failed_in, reporting
from extractor.cli.progress import Steps, counting
from extractor.errors import InvalidArgument, NotFound
from extractor.settings import DataFolder, checked_name
from extractor.text import counted, printable

if TYPE_CHECKING:
    from extractor.collections import Collection, Filed
    from extractor.results import Embeds

KINDS = ("auto", "exact", "exact-fp16", "ivf", "hnsw")
MAX_THUMBNAIL = 512


@click.command(
    epilog="""\b
Examples:
  penultimate index holiday ~/Pictures/2024
  penultimate index flowers 'data/**/*.jpg' extra.png --label-from-folder
  penultimate index flowers data --prune --report outcome.csv
  penultimate index flowers --retry-failed outcome.csv
  find . -name '*.jpg' | penultimate index flowers -

\b
Exit codes: 0 all are in the collection, 3 some failed (listed), 1 none could be added.
"""
)
@click.argument("collection")
@click.argument("paths", nargs=-1, metavar="PATH...")
@facts_options
@click.option(
    "--thumbnails",
    type=click.IntRange(0, MAX_THUMBNAIL),
    metavar="N",
    help="Pixels of the thumbnails to keep, 0 for none; chosen when the collection is made. [default: 128]",
)
@click.option(
    "--index",
    "kind",
    type=click.Choice(KINDS),
    help="The kind of index; chosen when the collection is made. [default: auto, by its size]",
)
@click.option("--prune", is_flag=True, help="Remove the items under PATH whose files are gone.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what became of each image: FILE.csv or FILE.json.",
)
@click.option(
    "--retry-failed",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="REPORT",
    help="Only the images that failed as this report says, in place of PATH.",
)
@source_options
@data_option
@json_option
def command(
    collection: str,
    paths: tuple[str, ...],
    label: str | None,
    label_from_folder: bool,
    metadata: tuple[str, ...],
    thumbnails: int | None,
    kind: str | None,
    prune: bool,
    report: Path | None,
    retry_failed: Path | None,
    data: DataFolder,
    as_json: bool,
    **source: Any,
) -> int:
    """Add images to COLLECTION, which is made when it is not there.

    PATH is an image, a folder, a glob, or - for a list of paths on standard
    input. Each image becomes an item under its absolute path. The backbone is
    the collection's own when none is named.

    Run it again to go on after an interruption, or to take in what is new:
    files of the same path, size and time are passed over unread, changed ones
    are replaced.
    """
    if report:
        checked_suffix(report)
    own = _backbone(data, checked_name("collection", collection))
    facts = facts_from(label, label_from_folder, metadata)
    files = _files(paths, retry_failed, collection)
    if own is None and paths:
        _require_any(paths)
    tally, begun = Tally(keep=as_json), time.monotonic()
    with (
        _opened(data, collection, source, own, thumbnails, kind) as (target, embeds),
        reporting(report, collection) as row,
    ):
        job = _Job(target, tally, row)
        with job.told(paths if not retry_failed else ()):
            _add(target, embeds, files, job, facts)
        pruned = _prune(target, [path for path in paths if path not in job.barren]) if prune else 0
        build(target)
        summary = _summary(tally, target, pruned, time.monotonic() - begun)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    if not retry_failed:
        facts.say_unused()
    _say(summary, tally)
    return tally.exit_code


def _add(target: Collection, embeds: Embeds, files: Iterable[str], job: _Job, facts: Said) -> None:
    from extractor.collections import add_files

    add_files(target, embeds, files, job.take, facts.of)


def _files(paths: tuple[str, ...], retry_failed: Path | None, collection: str) -> Iterable[str]:
    """The images, lazily; one of them is found now, so that an empty folder is said before all else."""
    from extractor.sources import find

    if bool(paths) == bool(retry_failed):
        raise click.UsageError("name PATHs, or a report with --retry-failed, and not both")
    if not retry_failed:
        files = find(paths)
        return chain([next(files)], files)
    failed = failed_in(retry_failed, collection)
    first = next(failed, None)
    if first is None:
        click.echo(f"nothing failed, as {retry_failed} says", err=True)
        return []
    return chain([first], failed)


def _require_any(paths: tuple[str, ...]) -> None:
    """Nothing is made of paths of which none is there, as when the only one is mistyped."""
    if not any(path == "-" or glob.has_magic(path) or os.path.lexists(path) for path in paths):
        raise NotFound(f"no such file or folder: {', '.join(map(printable, paths))}")


def _backbone(data: DataFolder, name: str) -> str | None:
    """The backbone of the collection, when there is one."""
    from extractor.collections import Collection

    with suppress(NotFound), Collection.open(data, name) as there:
        return there.backbone
    return None


@contextmanager
def _opened(
    data: DataFolder,
    name: str,
    source: dict[str, Any],
    own: str | None,
    thumbnails: int | None,
    kind: str | None,
) -> Iterator[tuple[Collection, Embeds]]:
    """The collection, made when it is not there, and what embeds for it."""
    from extractor.collections import Collection
    from extractor.collections.schema import DEFAULT_THUMBNAILS

    with (
        open_source(data, **source, own=own) as embeds,
        Collection.open_or_create(
            data,
            name,
            fingerprint=embeds.fingerprint,
            dim=embeds.dim,
            backbone=backbone_of(embeds),
            thumbnails=DEFAULT_THUMBNAILS if thumbnails is None else thumbnails,
            settings={"kind": kind} if kind else {},
        ) as target,
    ):
        _check_choices(target, thumbnails, kind)
        yield target, embeds


def _check_choices(target: Collection, thumbnails: int | None, kind: str | None) -> None:
    """Refuse what was chosen otherwise when the collection was made."""
    if thumbnails not in (None, target.thumbnails):
        raise InvalidArgument(
            f"the collection {target.name!r} was made with --thumbnails {target.thumbnails}: leave the "
            "option out, or index into a collection of another name"
        )
    if kind and kind != (there := target.info().settings.get("kind", "auto")):
        raise InvalidArgument(
            f"the index of the collection {target.name!r} is {there}: leave --index out, or change it with "
            f"`penultimate collections reindex {target.name} --kind {kind}`"
        )


class _Job:
    """One run: what became of the images goes to the counts, the report and the screen.

    Attributes
    ----------
    barren : set of str
        Paths that failed as they were named.
    """

    def __init__(self, target: Collection, tally: Tally, row: Callable[[Filed], None]) -> None:
        self._target, self._tally, self._row = target, tally, row
        self._steps: Steps | None = None
        self._named: tuple[str, ...] = ()
        self.barren: set[str] = set()

    @contextmanager
    def told(self, paths: tuple[str, ...]) -> Iterator[None]:
        """Show how far it is; when something stops it, say what was kept."""
        from extractor.sources import find

        def count() -> int:
            return sum(1 for _ in find(paths, in_order=False))

        self._named = paths
        known = bool(paths) and "-" not in paths  # a list on standard input cannot be read twice
        try:
            with counting("index", count if known else None) as self._steps:
                yield
        except BaseException as error:
            click.echo(
                f"Stopped after {counted(self._tally.images, 'image')}; what was added is kept in the "
                f"collection {self._target.name!r}. Run the same again to go on.",
                err=True,
            )
            if isinstance(error, KeyboardInterrupt):
                raise click.exceptions.Exit(INTERRUPTED) from None  # all is said
            raise

    def take(self, filed: Filed) -> None:
        """Take one image that is done."""
        assert self._steps, "images are taken while it is told how far it is"
        self._tally.add(filed)
        self._row(filed)
        if filed.status in ("unchanged", "moved") or filed.cached:
            self._steps.pass_over()
        else:
            self._steps.step()
        if filed.damage:
            self._steps.say(f"replaced: {printable(filed.path)}: {filed.damage}")
        if filed.status == "failed":
            named = "" if filed.path in filed.error else f"{printable(filed.path)}: "
            self._steps.say(f"failed: {named}{printable(filed.error)}")
            if filed.path in self._named:
                self.barren.add(filed.path)


def _prune(target: Collection, paths: Iterable[str]) -> int:
    from extractor.collections.pruning import prune

    return prune(target, paths)


def _summary(tally: Tally, target: Collection, pruned: int, seconds: float) -> dict[str, Any]:
    return {
        "collection": target.name,
        "items": len(target),
        "images": tally.images,
        "new": tally.new,
        "updated": tally.updated,
        "unchanged": tally.unchanged,
        "moved": tally.moved,
        "cached": tally.cached,
        "duplicates": tally.duplicates,
        "damaged": tally.damaged,
        "pruned": pruned,
        "failed": tally.failures,
        "index": target.info().index.reason,
        "seconds": round(seconds, 3),
    }


def _say(summary: dict[str, Any], tally: Tally) -> None:
    rate = summary["images"] / max(summary["seconds"], 1e-9)
    click.echo(
        f"{counted(tally.images, 'image')}: {_ends(tally, summary['pruned'])}; {summary['seconds']:.1f} s "
        f"({rate:.0f} images/s); the collection {summary['collection']!r} holds {summary['items']:,}, "
        f"index {summary['index']}",
        err=True,
    )


def _ends(tally: Tally, pruned: int) -> str:
    """What became of the images, without what became of none."""
    counts = {
        "new": tally.new,
        "updated": tally.updated,
        "unchanged": tally.unchanged,
        "moved": tally.moved,
        "failed": tally.failed,
        "with a remembered vector": tally.cached,
        "with the content of another": tally.duplicates,
        "in place of damaged items": tally.damaged,
        "removed, whose files are gone": pruned,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"
