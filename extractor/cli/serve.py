"""`penultimate serve`: the gRPC service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extractor import allocator, logs
from extractor.cli.configuration import ConfiguredCommand, effective
from extractor.cli.limits import limit_options, taken
from extractor.cli.options import data_option, provider_options
from extractor.cli.scheduling import schedule_options, tuning
from extractor.cli.watching import Watch, watching, watching_options
from extractor.settings import (
    DEFAULT_ADDRESS,
    TOKEN_VARIABLE,
    Connections,
    DataFolder,
    HealthChecks,
    Limits,
    ServiceLimits,
)

if TYPE_CHECKING:
    from extractor.embedder import Embedder
    from extractor.security import Certificates, Token
    from extractor.server import MakeService, Server

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "serve",
    cls=ConfiguredCommand,
    context_settings={"auto_envvar_prefix": "PENULTIMATE_SERVE"},
    epilog="""\b
Examples:
  penultimate serve
  penultimate serve --address 127.0.0.1:0 --data demo-output/data
  penultimate serve --address 0.0.0.0:50051 --tls-certificate server.pem --tls-key server.key
  penultimate serve --print-config > penultimate.toml

\b
Every option is also a variable of the environment (--grace: PENULTIMATE_SERVE_GRACE) and a key of a
TOML file; the command line comes first, then the environment, then the file.

\b
When it is ready it prints one line on standard output:
  listening on 127.0.0.1:50051 backbone=... fingerprint=... numerics=...
and then metrics=HOST:PORT where it answers Prometheus.
SIGTERM or Ctrl-C: it finishes what it accepted and exits with 0; a second one ends it at once.
""",
)
@click.option(
    "--address", default=DEFAULT_ADDRESS, show_default=True, help="HOST:PORT; port 0 takes a free one."
)
@provider_options
@data_option
@click.option(
    "--cache/--no-cache", default=True, help="Without, it remembers no vectors and uses none that are."
)
@click.option(
    "--collections/--no-collections",
    default=True,
    help="Serve the data folder's collections, which one server can at a time.",
)
@click.option(
    "--heads/--no-heads", default=True, help="Serve the data folder's heads: classify, fit, promote."
)
@click.option("--tls-certificate", type=_FILE, help="PEM file: the server's certificate, and its chain.")
@click.option("--tls-key", type=_FILE, help="PEM file: the certificate's private key.")
@click.option(
    "--tls-client-ca", type=_FILE, help="PEM file: only clients with a certificate from here may connect."
)
@click.option(
    "--token-file",
    type=_FILE,
    help="Callers must show a token of this file; it has one a line.",
)
@click.option(
    "--insecure/--no-insecure", default=False, help="Allow plain text where other machines can reach it."
)
@schedule_options
@limit_options
@watching_options
@click.option("--config", type=_FILE, help="TOML file of settings. [penultimate.toml in the data folder]")
@click.option("--print-config", is_flag=True, help="Print the settings that hold, as such a file, and end.")
@click.pass_context
def command(ctx: click.Context, /, print_config: bool, **settings: Any) -> None:
    """Run the gRPC service.

    It answers `penultimate.v1.Extractor`, `penultimate.v1.Collections`,
    `penultimate.v1.Heads`, health checks and reflection.
    """
    if print_config:
        click.echo(effective(ctx))
        if TOKEN_VARIABLE in os.environ and not settings["token_file"]:
            click.echo(f"# callers must show the token in ${TOKEN_VARIABLE}")
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say is in our own sentences
    logs.configure(settings["log_level"], settings["log_format"])
    allocator.share_arenas()
    from extractor.server import run

    certificates, token = _certificates(settings), _token(settings["token_file"])
    with _embedder(settings) as embedder, watching(settings, embedder) as watch:
        server = _server(embedder, certificates, token, watch, settings)
        run(server, lambda: _announce(server, watch))


def _announce(server: Server, watch: Watch) -> None:
    info = server.service.info()
    click.echo(
        f"listening on {server.address} backbone={info.backbone} "
        f"fingerprint={info.fingerprint} numerics={info.numerics}" + watch.serving(info)
    )
    sys.stdout.flush()


def _server(
    embedder: Embedder,
    certificates: Certificates | None,
    token: Token | None,
    watch: Watch,
    settings: dict[str, Any],
) -> Server:
    from extractor.server import Server

    return Server(
        embedder,
        settings["address"],
        collections=settings["data"] if settings["collections"] else None,
        services=_heads(settings["data"], watch) if settings["heads"] else (),
        limits=taken(ServiceLimits, settings),
        connections=taken(Connections, settings),
        checks=taken(HealthChecks, settings),
        certificates=certificates,
        token=token,
        observers=watch.observers,
        unauthenticated=watch.unauthenticated,
        insecure=settings["insecure"],
    )


def _heads(data: DataFolder, watch: Watch) -> list[MakeService]:
    """The service of heads, whose drift is among the metrics."""
    from classifiers.service import HeadsService
    from classifiers.service.gauges import DriftGauges

    gauges = DriftGauges()
    if watch.metrics:
        watch.metrics.registry.register(gauges)
    return [lambda embedder, calls: HeadsService(data, embedder, calls, gauges)]


def _embedder(settings: dict[str, Any]) -> Embedder:
    from extractor.embedder import Embedder

    return Embedder(
        settings["backbone"],
        data=settings["data"],
        provider=settings["provider"],
        precision=settings["precision"],
        cache="disk" if settings["cache"] else None,
        limits=taken(Limits, settings),
        max_pending=settings["queue_items"],
        max_pending_bytes=settings["queue_bytes"],
        tuning=tuning(settings),
    )


def _certificates(settings: dict[str, Any]) -> Certificates | None:
    from extractor.security import Certificates

    certificate, key, client_ca = (settings[f"tls_{name}"] for name in ("certificate", "key", "client_ca"))
    if not (certificate or key or client_ca):
        return None
    if not (certificate and key):
        raise click.UsageError("TLS needs both --tls-certificate and --tls-key")
    return Certificates(certificate, key, client_ca)


def _token(file: Path | None) -> Token | None:
    from extractor.security import Token

    return Token.of_file(file) if file else Token.of_environment()
