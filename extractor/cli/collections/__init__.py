"""`penultimate collections`: what is kept, looked at, changed, copied and mended."""

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
    "list": _Place("listing", "list_", "List the collections (as without a command)."),
    "get": _Place("items", "get", "Show items."),
    "set": _Place("items", "set_", "Change the label or metadata of items."),
    "delete": _Place("items", "delete", "Delete items."),
    "export": _Place("exchange", "export", "Write items to a Parquet file."),
    "import": _Place("exchange", "import_", "Add the rows of a Parquet or .npz file."),
    "backup": _Place("copies", "backup", "Copy a collection into one file, also while it is in use."),
    "restore": _Place("copies", "restore", "Make a collection of a backup."),
    "verify": _Place("upkeep", "verify", "Compare all that is kept with its checksums."),
    "repair": _Place("upkeep", "repair", "Embed again what is missing or damaged."),
    "reindex": _Place("upkeep", "reindex", "Make the index anew, of a kind or within a budget."),
    "drop": _Place("copies", "drop", "Remove a collection with all that it holds."),
}


class _Group(click.Group):
    """Imports the module of a command when it is called or helped."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"extractor.cli.collections.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in _COMMANDS.items()])


@click.group(
    "collections",
    cls=_Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  penultimate collections
  penultimate collections get holiday --filter "width > 3000"
  penultimate collections set holiday --filter "source like '%beach%'" --label beach
  penultimate collections backup holiday /backups/holiday.sqlite
""",
)
@data_option
@json_option
@click.pass_context
def command(ctx: click.Context, data: DataFolder, as_json: bool) -> None:
    """List the collections, or do something with one of them."""
    if ctx.invoked_subcommand is None:
        from extractor.cli.collections.listing import echo_list

        echo_list(data, as_json=as_json)
        return
    # What was said before the command counts for it, too.
    said = {"data": data.root} if ctx.params["data"] != DataFolder.default() else {}
    ctx.default_map = {ctx.invoked_subcommand: {**said, "as_json": as_json}}
