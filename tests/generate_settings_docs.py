"""Writes docs/settings.md from the options of `penultimate serve`: `make settings`.

With `--check`, part of `make check`, it writes nothing and fails when the page
says something else than the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from extractor.cli.configuration import key, settings, variable
from extractor.cli.serve import command

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = """\
# Settings of the service

<!-- Written by `make settings` from the code; edit the options' help instead. -->

Each setting of `penultimate serve` is an option, a variable of the environment, and a key of a TOML file. The
command line comes first, then the environment, then the file, then the default. The file is what `--config`
or `PENULTIMATE_SERVE_CONFIG` names, or else `penultimate.toml` in the data folder, where there is one; its
keys stand under `[serve]`. A key that is unknown, or a value of the wrong type, is an error that names it and
the file. Paths are relative to the folder that the command is started in.

`penultimate serve --print-config` prints the settings that hold, each with where it is from, and is itself
such a file. A token is no setting: it is in a file (`token-file`) or in the variable `PENULTIMATE_TOKEN`, and
is never printed. A number of bytes may have a unit, as in `"64 MiB"`.

| option | environment | TOML key | default | meaning |
|---|---|---|---|---|
"""

_DEFAULT = re.compile(r"\s*\[default: (.*)\]$", re.DOTALL)
"""What an option's help says where the default is no value."""


def row(option: click.Option, prefix: str) -> str:
    """A line of the table."""
    names = "/".join((option.opts[0], *option.secondary_opts))
    cells = (
        f"`{names}`",
        f"`{variable(option, prefix)}`",
        f"`{key(option)}`",
        default(option),
        meaning(option),
    )
    return "| " + " | ".join(cells) + " |"


def default(option: click.Option) -> str:
    value = option.to_info_dict()["default"]
    if value is None:
        said = _DEFAULT.search(option.help or "")
        return said[1] if said else ""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if option.is_flag else str(value)


def meaning(option: click.Option) -> str:
    """The option's help, and what there is to choose from."""
    text = _DEFAULT.sub("", option.help or "")
    if isinstance(option.type, click.Choice):
        text += " One of " + ", ".join(f"`{choice}`" for choice in option.type.choices) + "."
    return text


def page() -> str:
    """What docs/settings.md has to be."""
    prefix = command.context_settings["auto_envvar_prefix"]
    return HEAD + "\n".join(row(option, prefix) for option in settings(command)) + "\n"


def main() -> int:
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.stderr.write("docs/settings.md says something else than the code: run `make settings`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
