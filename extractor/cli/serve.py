"""`penultimate serve`: the gRPC service."""

from __future__ import annotations

import logging
import os
import sys

import click

from extractor.cli.options import data_option, provider_options
from extractor.settings import DEFAULT_ADDRESS, DataFolder


@click.command(
    epilog="""\b
Examples:
  penultimate serve
  penultimate serve --address 127.0.0.1:0 --data demo-output/data

\b
When it is ready it prints one line on standard output:
  listening on 127.0.0.1:50051 backbone=... fingerprint=... numerics=...
SIGTERM or Ctrl-C: it finishes what it accepted and exits with 0; a second one ends it at once.
"""
)
@click.option(
    "--address", default=DEFAULT_ADDRESS, show_default=True, help="HOST:PORT; port 0 takes a free one."
)
@provider_options
@data_option
@click.option("--no-cache", is_flag=True, help="Remember no vectors, and use none that are remembered.")
@click.option("--insecure", is_flag=True, help="Allow an address that other machines can reach.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What goes to standard error.",
)
def command(
    address: str,
    data: DataFolder,
    backbone: str,
    provider: str,
    precision: str,
    no_cache: bool,
    insecure: bool,
    log_level: str,
) -> None:
    """Run the gRPC service.

    It answers `penultimate.v1.Extractor`, health checks and reflection.
    """
    _log_to_stderr(log_level)
    from extractor.embedder import Embedder
    from extractor.server import Server, run

    with Embedder(
        backbone,
        data=data,
        provider=provider,
        precision=precision,
        cache=None if no_cache else "disk",
    ) as embedder:
        server = Server(embedder, address, insecure=insecure)

        def announce() -> None:
            info = server.service.info()
            click.echo(
                f"listening on {server.address} backbone={info.backbone} "
                f"fingerprint={info.fingerprint} numerics={info.numerics}"
            )
            sys.stdout.flush()

        run(server, announce)


def _log_to_stderr(level: str) -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say is in our own sentences
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
