"""The command group, and how every command ends.

Subcommands are imported only when they are called or helped, so that
`penultimate --help` stays quick.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from extractor.errors import PenultimateError
from extractor.text import printable

SOME_FAILED = 3
"""Exit code of a command that did its job but for some of its images."""

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""

_SUMMARIES = {
    "backbones": "List the backbones and whether they are on this machine.",
    "export": "Make a backbone ready for use (needs the `export` extra).",
    "import": "Make a backbone of your own network, an ONNX file.",
    "serve": "Run the gRPC service.",
    "embed": "Embed images and write the vectors to a file.",
    "index": "Add images to a collection.",
    "search": "Find the images of a collection that look like some images.",
    "collections": "List collections; show, change, copy and mend what they hold.",
    "duplicates": "Find the images of a collection that are the same or nearly so.",
    "outliers": "Find the images of a collection that are unlike all others.",
    "clusters": "Divide the images of a collection into groups of their kind.",
    "map": "Lay a collection out as an interactive map, one HTML file.",
    "classify": "Label images with a head.",
    "heads": "List heads; compare, promote, export and delete their versions.",
    "compare-backbones": "Say which backbone suits labelled images, and whether any does.",
    "tune": "Measure what keeps this machine busiest, and remember it.",
    "doctor": "Check this installation and say what is in use.",
    "demo": "Run everything once on real photos of solar cells.",
}
_MODULES = {"compare-backbones": "compare", "import": "import_"}
"""Where a command lies whose name is not its module's."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of the same name, or of that in `_MODULES`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _SUMMARIES:
            return None
        command = importlib.import_module(f"extractor.cli.{_MODULES.get(cmd_name, cmd_name)}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="penultimate", prog_name="penultimate")
def penultimate() -> None:
    """Turn images into embeddings once; find look-alikes; train classifiers in seconds.

    To fit a classifier, see `fit-head --help`.
    """


def run(command: click.Command, argv: list[str] | None = None) -> None:
    """Run `command` and exit: a deliberate error is one line on standard error, exit code 1."""
    _print_anything()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code: Any = command.main(args=argv, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (PenultimateError, OSError) as error:
        click.echo(f"Error: {printable(error)}", err=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. What was embedded is remembered: run the same again to go on.", err=True)
        code = INTERRUPTED
    _leave(code if isinstance(code, int) else 0)


@contextmanager
def interruption(left: str) -> Iterator[None]:
    """For a whole command, or as its decorator: what Ctrl-C says of one that remembers no embeddings."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"Interrupted. {left}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def _print_anything() -> None:
    """What a terminal cannot show is written as an escape; it never ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _terminated(*_: object) -> NoReturn:
    """SIGTERM ends a command as Ctrl-C does: drafts are removed, and what was done is kept."""
    sys.exit(128 + signal.SIGTERM)


def _leave(code: int) -> None:
    """Exit; a reader that went away (`| head`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def main() -> None:
    """The entry point of `penultimate`."""
    run(penultimate)
