"""What a command does in the end that has written many items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from extractor.errors import PenultimateError
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.collections import Collection


def build(target: Collection) -> None:
    """Build and save what a search would have to wait for; without it searches are slower, and right."""
    try:
        target.compact()
    except PenultimateError as error:
        click.echo(f"the index is built at the next search: {printable(error)}", err=True)
