"""`penultimate heads`: which heads there are, which version answers, and how they leave this machine."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from extractor.cli.options import data_option, json_option
from extractor.settings import DataFolder


class _Place(NamedTuple):
    """A command: the module and the name in it, and what it does."""

    module: str
    name: str
    summary: str


_COMMANDS = {
    "list": _Place("listing", "list_", "List the heads (as without a command)."),
    "show": _Place("listing", "show", "Show the versions of a head, or all of one."),
    "compare": _Place("comparing", "compare", "Compare two versions on images that neither was fitted on."),
    "promote": _Place("life", "promote", "Let a version answer."),
    "rollback": _Place("life", "rollback", "Let the version answer that did before."),
    "delete": _Place("life", "delete", "Delete a version, or a head with all of them."),
    "export": _Place("export", "export", "Write a head as an ONNX file."),
    "transfer": _Place("transfer", "transfer", "Fit a head again on another backbone."),
    "drift": _Place("drift", "drift", "Say how far live images are from those a head was fitted on."),
}


class _Group(click.Group):
    """Imports the module of a command when it is called or helped."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"extractor.cli.heads.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in _COMMANDS.items()])


@click.group(
    "heads",
    cls=_Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  penultimate heads
  penultimate heads show cells
  penultimate heads promote cells
""",
)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: DataFolder, as_json: bool) -> None:
    """List the heads; show, compare, promote, export and delete their versions."""
    if context.invoked_subcommand is None:
        from extractor.cli.heads.listing import echo_heads

        echo_heads(data, as_json)
