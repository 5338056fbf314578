"""Options for how images become runs of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from extractor.backbones.schedule import LARGEST_BATCH, LATENCY_BOUND, Tuning
from extractor.cli.configuration import Number

F = TypeVar("F", bound=Callable[..., Any])

latency_option = click.option(
    "--latency-bound",
    type=Number(0.1, 3.6e6),
    default=LATENCY_BOUND * 1e3,
    show_default=True,
    help="Milliseconds that a run of the network may take in the schedule that is chosen by measuring.",
)


def schedule_options(command: F) -> F:
    """Add `--batch-size`, `--parallel`, `--max-delay`, `--latency-bound` and `--tune`."""
    for option in (
        click.option(
            "--tune",
            type=click.Choice(["never", "once", "always"]),
            default="once",
            show_default=True,
            help="When to measure batch sizes and parallel runs: once for this machine, or at each start.",
        ),
        latency_option,
        click.option(
            "--max-delay",
            type=Number(0, 60e3),
            default=0.0,
            show_default=True,
            help="Milliseconds that a batch which is not full waits for more images.",
        ),
        click.option(
            "--parallel",
            type=click.IntRange(1, 1024),
            help="Runs of the network at once. [default: measured on this machine]",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(1, LARGEST_BATCH),
            help="Images in one run of the network at most. [default: measured on this machine]",
        ),
    ):
        command = option(command)
    return command


def tuning(settings: Mapping[str, Any]) -> Tuning:
    """What these options say; what they do not say is measured or remembered."""
    return Tuning(
        batch_size=settings["batch_size"],
        parallel=settings["parallel"],
        max_delay=settings["max_delay"] / 1e3,
        latency_bound=settings["latency_bound"] / 1e3,
        measure=settings["tune"],
    )
