"""`penultimate index`: image files into a collection."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from extractor.cli.main import SOME_FAILED
from extractor.cli.options import backbone_of, data_option, json_option, open_source, source_options
from extractor.cli.progress import progress
from extractor.settings import DataFolder, checked_name
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection, Filed
    from extractor.results import Embeds


@click.command(
    epilog="""\b
Examples:
  penultimate index holiday ~/Pictures/2024
  penultimate index flowers 'data/**/*.jpg' extra.png
  find . -name '*.jpg' | penultimate index flowers -

\b
Exit codes: 0 all are in the collection, 3 some failed (listed), 1 none could be added.
"""
)
@click.argument("collection")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@source_options
@data_option
@json_option
def command(
    collection: str,
    paths: tuple[str, ...],
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> int:
    """Add images to COLLECTION, which is made when it is not there.

    PATH is an image, a folder, a glob, or - for a list of paths on standard
    input. Each image becomes an item under its absolute path.

    The backbone is the collection's own when none is named.

    Run it again to go on after an interruption, or to take in what is new:
    files of the same path, size and time are passed over unread, changed ones
    are replaced.
    """
    from extractor.collections import Collection
    from extractor.sources import find

    own = _backbone(data, checked_name("collection", collection))
    files = list(find(paths))
    with (
        open_source(data, backbone, server, provider, precision, own=own) as source,
        Collection.open_or_create(
            data,
            collection,
            fingerprint=source.fingerprint,
            dim=source.dim,
            backbone=backbone_of(source),
        ) as target,
    ):
        filed = _add(target, source, files)
        summary = _summary(filed, target)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    _report(summary)
    return _exit_code(summary)


def _backbone(data: DataFolder, name: str) -> str | None:
    """The backbone of the collection, when there is one."""
    from extractor.collections import Collection
    from extractor.errors import NotFound

    with suppress(NotFound), Collection.open(data, name) as there:
        return there.backbone
    return None


def _add(target: Collection, source: Embeds, files: list[str]) -> list[Filed]:
    """Add the files; when something stops that, say what was kept."""
    from extractor.collections import add_files

    filed: list[Filed] = []
    try:
        add_files(target, source, progress(files, len(files), "index"), filed.append)
    except BaseException:
        click.echo(
            f"Stopped after {len(filed)} of {len(files)} images; what was added is kept in the collection "
            f"{target.name!r}. Run the same again to go on.",
            err=True,
        )
        raise
    return filed


def _summary(filed: list[Filed], target: Collection) -> dict[str, Any]:
    counts = Counter(file.status for file in filed)
    return {
        "collection": target.name,
        "items": len(target),
        "images": len(filed),
        "new": counts["new"],
        "updated": counts["updated"],
        "unchanged": counts["unchanged"],
        "cached": sum(file.cached for file in filed),
        "failed": [
            {"id": printable(file.path), "error": printable(file.error)}
            for file in filed
            if file.status == "failed"
        ],
    }


def _report(summary: dict[str, Any]) -> None:
    for failure in summary["failed"]:
        click.echo(f"failed: {failure['id']}: {failure['error']}", err=True)
    click.echo(
        "{images} images: {new} new, {updated} updated, {unchanged} unchanged, {lost} failed "
        "({cached} vectors were remembered); the collection {collection!r} holds {items}".format(
            lost=len(summary["failed"]), **summary
        ),
        err=True,
    )


def _exit_code(summary: dict[str, Any]) -> int:
    failed = len(summary["failed"])
    if not failed:
        return 0
    return SOME_FAILED if failed < summary["images"] else 1
