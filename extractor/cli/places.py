"""Where commands write files."""

from __future__ import annotations

from pathlib import Path

import click

from extractor.text import printable


def announce_folder(file: Path) -> None:
    """Say that the folder of a file that will be written is new: it may be mistyped."""
    if not file.parent.exists():
        click.echo(f"the folder {printable(file.parent)} is not there: it is made", err=True)
