"""`penultimate heads promote`, `rollback` and `delete`."""

from __future__ import annotations

import click

from extractor.cli.collections.choosing import confirm
from extractor.cli.options import data_option
from extractor.settings import DataFolder

_version = click.IntRange(min=1)


@click.command(
    epilog="\b\nExamples:\n  penultimate heads promote cells\n  penultimate heads promote cells --version 2\n"
)
@click.argument("name")
@click.option("--version", type=_version, help="Which. [default: the newest]")
@data_option
def promote(name: str, version: int | None, data: DataFolder) -> None:
    """Let a version of the head NAME answer; a running server takes it without a restart."""
    from classifiers.store import versions

    click.echo(f"{name}: version {versions.promote(name, version, data)} answers")


@click.command(epilog="\b\nExample:\n  penultimate heads rollback cells\n")
@click.argument("name")
@data_option
def rollback(name: str, data: DataFolder) -> None:
    """Let the version of the head NAME answer that did before the last promotion."""
    from classifiers.store import versions

    click.echo(f"{name}: version {versions.rollback(name, data)} answers again")


@click.command(
    epilog="\b\nExamples:\n  penultimate heads delete cells --version 2\n  penultimate heads delete cells\n"
)
@click.argument("name")
@click.option("--version", type=_version, help="Only this one, which must not be the one that answers.")
@click.option("--yes", is_flag=True, help="Do not ask before a head goes with all its versions.")
@data_option
def delete(name: str, version: int | None, yes: bool, data: DataFolder) -> None:
    """Delete a version of the head NAME, or the head with all of them."""
    from classifiers.store import versions

    if version is None and versions.head_path(name, data).is_dir():  # else there is nothing to ask about
        count = len(versions.versions(name, data))
        confirm(f"Delete the head {name} with its {count} version(s)?", yes=yes)
    versions.delete(name, version, data)
    click.echo(f"{name}: {'deleted' if version is None else f'version {version} deleted'}")
