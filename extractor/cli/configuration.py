"""Settings of a command: its command line over the environment over a TOML file over defaults."""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from extractor.errors import InvalidArgument
from extractor.settings import DataFolder

_ABOUT_SETTINGS = ("config", "print_config")
_FILE = "penultimate.settings_file"


class Size(click.ParamType):  # type: ignore[type-arg]  # older ones take no argument
    """A number of bytes, such as 4096, 512 KiB or 64MiB.

    Parameters
    ----------
    most : int
        The largest.
    """

    name = "size"
    _UNITS = ("", "KiB", "MiB", "GiB")

    def __init__(self, most: int = 2**60) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, from a number or from text."""
        found = re.fullmatch(r"([1-9]\d{0,17})\s*(|[kmg]ib)", str(value).strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no number of bytes: write such as 4096, 512 KiB or 64 MiB", param, ctx)
        power = [unit.lower() for unit in self._UNITS].index(found[2].lower())
        size = int(found[1]) * int(1024**power)
        if size > self._most:
            self.fail(f"{value} is too large: at most {self._most} bytes are possible", param, ctx)
        return size

    @classmethod
    def text(cls, size: int) -> str:
        """`size` in the largest unit that holds it exactly."""
        power = 0
        while size % 1024 == 0 and power < len(cls._UNITS) - 1:
            size, power = size // 1024, power + 1
        return f"{size} {cls._UNITS[power]}".strip()


class Number(click.FloatRange):
    """A number in a range, which nan is not: no bound compares with it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, from a number or from text."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


SIZE = Size()


class ConfiguredCommand(click.Command):
    """A command whose options may also stand in the environment and in a TOML file.

    The file is what `--config` names, or else `penultimate.toml` in the data
    folder, where there is one. Its table has the command's name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take defaults from the file, then parse as always."""
        named, _, _ = self.make_parser(ctx).parse_args(list(args))
        helped = (option := self.get_help_option(ctx)) and named.get(option.name)
        if not helped and (file := self._file(ctx, named)):
            ctx.default_map = read(file, self)
            ctx.meta[_FILE] = file
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise _with_source(error, ctx) from None

    def _file(self, ctx: click.Context, named: Mapping[str, Any]) -> Path | None:
        config, data = (self._place(name, ctx, named) for name in ("config", "data"))
        if config:
            return config
        folder = DataFolder(data) if data else DataFolder.default()
        return folder.settings if folder.settings.exists() else None

    def _place(self, name: str, ctx: click.Context, named: Mapping[str, Any]) -> Path | None:
        """What the command line or the environment says for an option."""
        (option,) = (option for option in self.params if option.name == name)
        said = named.get(name) or option.value_from_envvar(ctx)
        return Path(str(said)) if said else None


def read(file: Path, command: click.Command) -> dict[str, Any]:
    """What `file` says for the options of `command`, by their names in Python.

    Raises
    ------
    InvalidArgument
        When it cannot be read, or holds what is no setting, or a value that
        the setting cannot have.
    """
    try:
        tables = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"the settings in {file} cannot be read: {error}") from error
    for name, table in tables.items():
        if name != command.name or not isinstance(table, dict):
            raise InvalidArgument(f"{file}: {name!r} is nothing known; settings stand under [{command.name}]")
    options = {key(option): option for option in settings(command)}
    table = tables.get(str(command.name), {})
    return {
        str(_known(options, name, file).name): _checked(options[name], table[name], file) for name in table
    }


def settings(command: click.Command) -> list[click.Option]:
    """The options of `command` that are settings."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    return [option for option in options if option.name not in _ABOUT_SETTINGS]


def key(option: click.Option) -> str:
    """The setting's name in a TOML file: the option's, without the dashes before it."""
    return option.opts[0].lstrip("-")


def variable(option: click.Option, prefix: str) -> str:
    """The setting's name in the environment."""
    return str(option.envvar or f"{prefix}_{option.name}".upper())


def effective(ctx: click.Context) -> str:
    """The settings that the command runs with, as TOML, each with a comment that says where it is from."""
    assert ctx.command.name
    lines = [f"[{ctx.command.name}]"]
    for option in settings(ctx.command):
        value = ctx.params[str(option.name)]
        name = key(option)
        lines.append(
            f"# {name} is not set"
            if value is None
            else f"{name} = {_toml(option, value)}  # {_source(option, ctx)}"
        )
    return "\n".join(lines)


def _known(options: Mapping[str, click.Option], name: str, file: Path) -> click.Option:
    if name in options:
        return options[name]
    close = difflib.get_close_matches(name, options, 1)
    raise InvalidArgument(
        f"{file}: there is no setting {name!r}" + (f"; is {close[0]!r} meant?" if close else "")
    )


def _checked(option: click.Option, value: Any, file: Path) -> Any:
    """`value`, when the option can have it; texts are not taken for numbers."""
    kinds, wanted = _accepted(option)
    if type(value) not in kinds:
        raise InvalidArgument(f"{file}: {key(option)} = {json.dumps(value, default=str)} must be {wanted}")
    try:
        option.type.convert(value, option, None)
    except click.BadParameter as error:
        raise InvalidArgument(f"{file}: {key(option)}: {error.message}") from None
    return value


def _accepted(option: click.Option) -> tuple[tuple[type, ...], str]:
    """The types that the setting may have in a file, and in words."""
    if option.is_flag:
        return (bool,), "true or false"
    if isinstance(option.type, Size):
        return (int, str), 'a whole number or a text such as "64 MiB"'
    if isinstance(option.type, click.types.IntParamType):
        return (int,), "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return (float, int), "a number"
    return (str,), "a text in quotes"


def _toml(option: click.Option, value: Any) -> str:
    if isinstance(option.type, Size):
        value = Size.text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = str(value.root if isinstance(value, DataFolder) else value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _source(option: click.Option, ctx: click.Context) -> str:
    source = ctx.get_parameter_source(str(option.name))
    if source is ParameterSource.ENVIRONMENT:
        return f"environment, {variable(option, ctx.auto_envvar_prefix or '')}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"{ctx.meta[_FILE]}"
    return "command line" if source is ParameterSource.COMMANDLINE else "default"


def _with_source(error: click.BadParameter, ctx: click.Context) -> click.BadParameter:
    """Name the variable whose value cannot be used, where it is the environment's."""
    option = error.param
    if isinstance(option, click.Option) and _source(option, ctx).startswith("environment"):
        error.param_hint = f"${variable(option, ctx.auto_envvar_prefix or '')}"
    return error
