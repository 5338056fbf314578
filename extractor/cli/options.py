"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from extractor.settings import DEFAULT_BACKBONE, DataFolder

if TYPE_CHECKING:
    from extractor.client import Client
    from extractor.embedder import Embedder

F = TypeVar("F", bound=Callable[..., Any])

PROVIDERS = ("auto", "cpu", "openvino", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


def _as_data_folder(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> DataFolder:
    return DataFolder(value) if value else DataFolder.default()


data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_as_data_folder,
    help="Folder for backbones, cache, collections and heads. [default: $PENULTIMATE_DATA, "
    "or the platform's folder for a user's data]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def provider_options(command: F) -> F:
    """Add `--backbone`, `--provider` and `--precision`."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            help="auto: the fastest that passes the golden test; fp32 also passes over remembered vectors "
            "of a lower precision.",
        ),
        click.option(
            "--provider",
            type=click.Choice(PROVIDERS),
            default="auto",
            help="What runs the network; one that is named and cannot be had is an error.",
        ),
        click.option("--backbone", default=DEFAULT_BACKBONE, show_default=True, help="An exported backbone."),
    ):
        command = option(command)
    return command


def source_options(command: F) -> F:
    """Add what `open_source` takes: `--backbone`, `--provider`, `--precision` and `--server`."""
    server = click.option(
        "--server", metavar="HOST:PORT", help="Embed through this service, not in this process."
    )
    return provider_options(server(command))


def open_source(
    data: DataFolder, backbone: str, server: str | None, provider: str, precision: str
) -> Embedder | Client:
    """Open what turns images into embeddings: a service when one is named, else this process."""
    if server:
        from extractor.client import Client

        return Client(server)
    from extractor.embedder import Embedder

    return Embedder(backbone, data=data, provider=provider, precision=precision)
