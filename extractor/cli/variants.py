"""Options that change a backbone, and the list of the layers at which it may be cut."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from extractor.backbones.variant import (
    DEFAULT_LAYER,
    LARGEST_SIZE,
    POOLINGS,
    SMALLEST_SIZE,
    Profile,
    Variant,
    Views,
)
from extractor.errors import InvalidArgument

if TYPE_CHECKING:
    from extractor.backbones.export.layers import Output

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("layer", "output", "kind", "module")
_MARK = "(the usual one)"

USUAL = ((DEFAULT_LAYER,), (f"{DEFAULT_LAYER}:avg",))
"""What names the usual layer: the plain backbone, not a bundle of its own."""

size_option = click.option(
    "--size",
    type=click.IntRange(SMALLEST_SIZE, LARGEST_SIZE),
    metavar="PX",
    help="Side of the input; the backbone's own when left out.",
)


def variant_options(command: F) -> F:
    """Add `--layer`, `--size`, `--views` and `--profile`, which reach the command as `variant`."""

    @functools.wraps(command)
    def with_variant(
        *args: Any, layer: tuple[str, ...], size: int | None, views: Views, profile: Profile, **others: Any
    ) -> Any:
        layers = tuple(name.strip() for names in layer for name in names.split(","))
        layers = () if layers in USUAL else layers
        return command(*args, variant=Variant(layers, size, views, profile), **others)

    changed: Any = with_variant
    for option in (
        click.option(
            "--profile",
            type=click.Choice(get_args(Profile)),
            default="exact",
            help="How pictures are decoded (docs/images.md).",
        ),
        click.option(
            "--views",
            type=click.Choice(get_args(Views)),
            default="plain",
            help="flip: the mean over the picture and its mirror image; flips: and both upside down.",
        ),
        size_option,
        click.option(
            "--layer",
            multiple=True,
            metavar="NAME[:POOLING]",
            help=f"Cut there instead of before the classifier. POOLING is {', '.join(POOLINGS)} (default: "
            "avg). Several, by more options or commas, are put one after the other. "
            "`penultimate backbones NAME --layers` has the names.",
        ),
    ):
        changed = option(changed)
    return changed  # type: ignore[no-any-return]


def layers_options(command: F) -> F:
    """Add `--layers` and `--size`, which `echo_layers` takes."""
    flag = click.option("--layers", is_flag=True, help="List the layers of NAME at which it may be cut.")
    return flag(size_option(command))


def echo_layers(name: str | None, size: int | None, *, as_json: bool) -> None:
    """Print the layers of the backbone `name`.

    Raises
    ------
    click.UsageError
        Without a name.
    InvalidArgument
        When torch, torchvision or timm is not installed.
    """
    if name is None:
        raise click.UsageError("--layers needs the NAME of a backbone: see `penultimate backbones`")
    found = _layers_of(name, size)
    if as_json:
        facts = [{key: value for key, value in asdict(output).items() if key != "prefix"} for output in found]
        click.echo(json.dumps(facts, indent=2))
        return
    rows = [_COLUMNS, *map(_cells, found)]
    if all(output.layer != DEFAULT_LAYER for output in found):
        rows.append((DEFAULT_LAYER, "", "vector", _MARK))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _layers_of(name: str, size: int | None) -> list[Output]:
    try:
        from extractor.backbones.export.layers import layers_of

        return layers_of(name, size)
    except ModuleNotFoundError as error:
        raise InvalidArgument(
            f"listing layers runs the network, which needs {error.name}, not installed here: "
            "run `pip install '.[export]'` in penultimate's folder"
        ) from error


def _cells(output: Output) -> tuple[str, ...]:
    kind = "tokens with a class token" if output.class_token else str(output.kind)
    module = f"{output.module} {_MARK}" if output.layer == DEFAULT_LAYER else output.module
    return output.layer, " x ".join(map(str, output.shape)), kind, module
