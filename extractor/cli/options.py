"""Options that several commands share, and what they open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from extractor.errors import InvalidArgument
from extractor.settings import DEFAULT_BACKBONE, DataFolder

if TYPE_CHECKING:
    from extractor.client import Client
    from extractor.embedder import Embedder

F = TypeVar("F", bound=Callable[..., Any])

PROVIDERS = ("auto", "cpu", "openvino", "cuda", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def _as_data_folder(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> DataFolder:
    return DataFolder(value) if value else DataFolder.default()


data_option = click.option(
    "--data",
    envvar="PENULTIMATE_DATA",
    allow_from_autoenv=False,
    type=click.Path(file_okay=False, path_type=Path),
    callback=_as_data_folder,
    help="Folder for backbones, cache, collections and heads. [default: $PENULTIMATE_DATA, "
    "or the platform's folder for a user's data]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def processor_options(command: F) -> F:
    """Add `--provider` and `--precision`."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            help="auto: the fastest that passes the golden test; fp32 also passes over remembered vectors "
            "of a lower precision; int8 needs `penultimate tune --calibrate` before.",
        ),
        click.option(
            "--provider",
            type=click.Choice(PROVIDERS),
            default="auto",
            help="What runs the network; one that is named and is not really used is an error.",
        ),
    ):
        command = option(command)
    return command


def provider_options(command: F, default: str | bool = True) -> F:
    """Add `--backbone`, of which help says `default`, `--provider` and `--precision`."""
    backbone = click.option(
        "--backbone", default=DEFAULT_BACKBONE, show_default=default, help="An exported backbone."
    )
    return backbone(processor_options(command))


def source_options_of(own: str) -> Callable[[F], F]:
    """As `source_options`, where what is worked with has a backbone of its own; help says `own`."""
    return lambda command: source_options(command, own)


def source_options(command: F, default: str | bool = True) -> F:
    """Add what `open_source` takes: `--backbone`, `--provider`, `--precision`, `--server` and its own."""
    server = click.option(
        "--server",
        metavar="HOST:PORT",
        help="Embed through this service, not in this process; several that share the work have commas "
        "between them.",
    )
    for option in reversed(_ACCESS):
        command = option(command)
    return provider_options(server(command), default)


def _note_access(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep for `_open_client` what the user said; commands need not know of it."""
    if value:
        ctx.meta.setdefault(_ACCESS_KEY, {})[param.name] = value


def _access_option(flag: str, parameter: str, help: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(flag, parameter, help=help, callback=_note_access, expose_value=False, **attributes)


_ACCESS_KEY = "extractor.client"
_FILE: dict[str, Any] = {"type": click.Path(dir_okay=False)}
_ACCESS = (
    _access_option("--server-tls", "tls", "TLS, trusting whom this system trusts.", is_flag=True),
    _access_option(
        "--server-ca",
        "root_certificates",
        "TLS, trusting the authorities in this PEM file. [env var: PENULTIMATE_SERVER_CA]",
        envvar="PENULTIMATE_SERVER_CA",
        **_FILE,
    ),
    _access_option("--client-certificate", "certificate", "PEM file by which the service knows us.", **_FILE),
    _access_option("--client-key", "key", "PEM file: that certificate's private key.", **_FILE),
    _access_option(
        "--token-file",
        "token_file",
        "The service's token is in this file. [or in $PENULTIMATE_TOKEN]",
        **_FILE,
    ),
    _access_option(
        "--token-in-clear",
        "token_in_clear",
        "Send the token without TLS to other machines too.",
        is_flag=True,
    ),
)


def open_source(
    data: DataFolder,
    backbone: str,
    server: str | None,
    provider: str,
    precision: str,
    *,
    own: str | None = None,
) -> Embedder | Client:
    """Open what turns images into embeddings: a service when one is named, else this process.

    Parameters
    ----------
    own : str, optional
        The backbone of the head or collection that is worked with; it is taken
        unless the user named another.

    Raises
    ------
    click.UsageError
        When the user chose what a service chooses for itself.
    InvalidArgument
        When the service runs another backbone than the one that was named, or
        the head is of vectors that no backbone is known for.
    """
    if server:
        return _open_client(server, backbone)
    _refuse_access()
    from extractor.embedder import Embedder
    from extractor.vector_files import is_file_name

    wanted = backbone if own is None or _was_named("backbone") else own
    if wanted == own and is_file_name(own):
        raise InvalidArgument(
            f"the vectors are of the file {own}, which names no backbone: images cannot be made such "
            "vectors here; name a --backbone if one made them"
        )
    return Embedder(wanted, data=data, provider=provider, precision=precision)


def source_was_named() -> bool:
    """Whether the command line says what is to embed: then that has to be there, also if nothing needs it."""
    said = click.get_current_context().get_parameter_source
    named = ("backbone", "provider", "precision", "server")
    return any(said(option) is ParameterSource.COMMANDLINE for option in named)


def backbone_of(source: Embedder | Client) -> str:
    """The name of the backbone that runs there."""
    return source.info().backbone if hasattr(source, "info") else source.bundle.manifest.backbone


def _open_client(server: str, backbone: str) -> Client:
    from extractor.client import Client

    for option in ("provider", "precision"):
        if _was_named(option):
            raise click.UsageError(
                f"--{option} is for this process, and with --server the service has chosen its own: "
                f"leave it out, or start `penultimate serve --{option} ...`"
            )
    client = Client(server, **click.get_current_context().meta.get(_ACCESS_KEY, {}))
    if _was_named("backbone") and (served := backbone_of(client)) != backbone:
        client.close()
        raise InvalidArgument(
            f"the service at {server} runs the backbone {served}, not {backbone}: leave "
            f"--backbone out, or start `penultimate serve --backbone {backbone}`"
        )
    return client


def _refuse_access() -> None:
    """Raise UsageError for an option that needs `--server`; what the environment says may wait for one."""
    context = click.get_current_context()
    for parameter in context.command.params:
        named = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if named and parameter.callback is _note_access:
            raise click.UsageError(f"{parameter.opts[0]} is for a service: name one with --server")


def _was_named(option: str) -> bool:
    """Whether the user gave the option of the command that runs."""
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT
