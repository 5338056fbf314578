"""`penultimate embed`: images in, one file of vectors out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from extractor.cli.main import SOME_FAILED
from extractor.cli.options import backbone_of, data_option, json_option, open_source, source_options
from extractor.cli.places import announce_folder
from extractor.cli.progress import progress
from extractor.settings import DataFolder
from extractor.text import printable


@click.command(
    epilog="""\b
Examples:
  penultimate embed photos/ --out photos.npz
  penultimate embed 'photos/**/*.jpg' --out photos.parquet --server 127.0.0.1:50051
  find photos -name '*.png' | penultimate embed - --out photos.npz

\b
Exit codes: 0 all embedded, 3 some failed (listed), 1 none could be embedded.
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="FILE.npz or FILE.parquet.",
)
@source_options
@data_option
@json_option
def command(
    paths: tuple[str, ...],
    out: Path,
    data: DataFolder,
    as_json: bool,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
) -> int:
    """Embed images and write ids, digests, vectors and errors to a file.

    PATH is an image, a folder, a glob, or - for a list of paths on standard
    input. Every image is embedded once: an interrupted run, run again, goes on
    where it stopped.
    """
    from extractor.sources import find
    from extractor.vector_files import checked_suffix

    checked_suffix(out)
    announce_folder(out)
    ids = list(find(paths))
    with open_source(data, backbone, server, provider, precision) as source:
        summary = _embed(ids, source, out)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    _report(summary)
    return _exit_code(summary)


class _NothingEmbedded(Exception):
    """Ends the writing of a file that would hold no vector; what is at its place stays."""


def _embed(ids: list[str], source: Any, out: Path) -> dict[str, Any]:
    from extractor.vector_files import writing

    begun = time.perf_counter()
    cached, failed = 0, list[dict[str, str]]()
    facts = {"fingerprint": source.fingerprint, "backbone": backbone_of(source)}
    with suppress(_NothingEmbedded), writing(out, dim=source.dim, **facts) as file:
        results = progress(source.stream(ids), len(ids), "embed")
        for id, result in zip(ids, results, strict=True):
            file.add(id, result)
            cached += result.cached
            if result.error:
                failed.append({"id": printable(id), "error": printable(result.error)})
        if len(failed) == len(ids):
            raise _NothingEmbedded
    return {
        "out": str(out) if len(failed) < len(ids) else None,
        "fingerprint": source.fingerprint,
        "images": len(ids),
        "cached": cached,
        "computed": len(ids) - cached - len(failed),
        "failed": failed,
        "seconds": round(time.perf_counter() - begun, 3),
    }


def _report(summary: dict[str, Any]) -> None:
    for failure in summary["failed"]:
        click.echo(f"failed: {failure['id']}: {failure['error']}", err=True)
    rate = summary["images"] / max(summary["seconds"], 1e-9)
    click.echo(
        f"{summary['images']} images: {summary['computed']} computed, {summary['cached']} remembered, "
        f"{len(summary['failed'])} failed, in {summary['seconds']:.1f} s ({rate:.0f} images/s); "
        + (f"wrote {printable(summary['out'])}" if summary["out"] else "no file was written"),
        err=True,
    )


def _exit_code(summary: dict[str, Any]) -> int:
    failed = len(summary["failed"])
    if not failed:
        return 0
    return SOME_FAILED if failed < summary["images"] else 1
