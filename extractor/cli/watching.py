"""Options for what the service says of itself, and those who watch its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from extractor.addresses import Address
from extractor.errors import InvalidArgument
from extractor.logs import FORMATS, CallLog

if TYPE_CHECKING:
    from extractor.call import Observer
    from extractor.embedder import Embedder
    from extractor.metrics import Exposition, Metrics
    from extractor.tracing import Tracing
    from extractor.wire import Info

F = TypeVar("F", bound=Callable[..., Any])


def watching_options(command: F) -> F:
    """Add what `watching` and `logs.configure` take."""
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(FORMATS),
            default="logfmt",
            show_default=True,
            help="A line of key=value pairs, or a JSON object, for each record.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            help="What goes to standard error.",
        ),
        click.option(
            "--traces/--no-traces",
            default=False,
            help="Send a span for each call to OpenTelemetry, as the OTEL_* variables say.",
        ),
        click.option(
            "--metrics-address",
            metavar="HOST:PORT",
            help="Answer Prometheus there, in plain text; port 0 takes a free one. [off]",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Watch:
    """Those who watch the calls of one server.

    Attributes
    ----------
    observers : tuple of Observer
    metrics, exposition : Metrics and Exposition, or None
        The one among them who counts, and where that can be read.
    """

    observers: tuple[Observer, ...]
    metrics: Metrics | None = None
    exposition: Exposition | None = None

    def unauthenticated(self) -> None:
        """Take note of a call without an accepted token."""
        if self.metrics:
            self.metrics.unauthenticated()

    def serving(self, info: Info) -> str:
        """Take note of what is served; what is to be announced of it."""
        if not (self.metrics and self.exposition):
            return ""
        self.metrics.serving(info)
        return f" metrics={self.exposition.address}"


@contextmanager
def watching(settings: Mapping[str, Any], embedder: Embedder) -> Iterator[Watch]:
    """Those whom the settings ask for; at the end spans are exported and the port is free.

    Raises
    ------
    InvalidArgument
        When other machines could read the metrics and `insecure` was not
        given, or when what traces need is not installed.
    Unavailable
        When the metrics' address cannot be had.
    """
    with ExitStack() as stack:
        observers: tuple[Observer, ...] = (CallLog(),)
        if settings["traces"]:
            observers += (stack.enter_context(closing(_tracing())),)
        if not settings["metrics_address"]:
            yield Watch(observers)
            return
        address = _metrics_address(settings["metrics_address"], insecure=settings["insecure"])
        from extractor.metrics import Exposition, Metrics

        metrics = Metrics(embedder.load)
        exposition = stack.enter_context(closing(Exposition(metrics.registry, address)))
        yield Watch((*observers, metrics), metrics, exposition)


def _metrics_address(text: str, *, insecure: bool) -> Address:
    address = Address.parse(text)
    if not (insecure or address.is_loopback):
        raise InvalidArgument(
            f"the metrics at {text} could be read from other machines, in plain text: listen on "
            "127.0.0.1, or give --insecure if the network is trusted"
        )
    return address


def _tracing() -> Tracing:
    """Traces as the environment says; imported here, since the extra may be missing."""
    try:
        from extractor.tracing import Tracing, provider_from_environment
    except ImportError as error:
        raise InvalidArgument(
            f"--traces needs OpenTelemetry, which cannot be imported ({error}): in penultimate's "
            "folder, pip install '.[tracing]'"
        ) from error
    return Tracing(provider_from_environment())
