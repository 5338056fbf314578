"""Options for the limits of the service, and for how it keeps its connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import click

from extractor.cli.configuration import SIZE, Number, Size
from extractor.settings import Connections, HealthChecks, Limits, ServiceLimits

F = TypeVar("F", bound=Callable[..., Any])
D = TypeVar("D", Limits, ServiceLimits, Connections, HealthChecks)

# gRPC's core has its numbers, and its times in milliseconds, in 32 bits.
_MOST = 2**31 - 1
_COUNT = click.IntRange(1, _MOST)
_MESSAGE = Size(_MOST)
_SECONDS = Number(0, _MOST // 1000)
_SOME_SECONDS = Number(0.001, _MOST // 1000)

# By the names of the dataclasses' fields, which have the defaults.
_OPTIONS: dict[type[Any], dict[str, tuple[Any, str]]] = {
    ServiceLimits: {
        "message_bytes": (_MESSAGE, "Largest request, and largest reply."),
        "items_per_call": (_COUNT, "Images or digests of one call."),
        "streams": (_COUNT, "Calls of EmbedStream at once."),
        "queue_items": (_COUNT, "Images that are accepted and not yet answered."),
        "queue_bytes": (SIZE, "Bytes of such images."),
        "bytes_at_once": (SIZE, "Bytes of all requests in memory, with those being received."),
        "unsaid_bytes": (SIZE, "Room kept for a request whose caller does not say how large it is."),
        "patience": (_SECONDS, "Seconds that a call waits for others to be received before it is refused."),
        "grace": (_SECONDS, "Seconds that accepted calls have to finish when the server stops."),
    },
    Limits: {
        "image_bytes": (SIZE, "Largest image file."),
        "image_pixels": (_COUNT, "Largest width times height of an image."),
        "min_side": (_COUNT, "Smallest width and height of an image, in pixels."),
    },
    HealthChecks: {
        "stalled_after": (
            _SOME_SECONDS,
            "Seconds that work may wait while no inference finishes, before health says NOT_SERVING.",
        ),
        "probe_after": (_SOME_SECONDS, "Seconds without an inference after which a golden picture is run."),
    },
    Connections: {
        "calls_per_connection": (
            _COUNT,
            "Calls of one connection at once; its client keeps back what is more.",
        ),
        "keepalive": (
            _SOME_SECONDS,
            "Seconds of silence after which a connection is asked for a sign of life.",
        ),
        "ping_interval": (_SECONDS, "Seconds that clients must leave between two such questions of theirs."),
        "connection_age": (
            _SECONDS,
            "Seconds after which a client is asked to connect anew, so that load balances; 0 for never.",
        ),
        "connection_age_grace": (_SECONDS, "Seconds that calls of such a connection may go on."),
    },
}


def limit_options(command: F) -> F:
    """Add an option for every field of the limits and of the connections' settings."""
    for kind, options in reversed(_OPTIONS.items()):
        for name, (type_, meaning) in reversed(options.items()):
            default = getattr(kind(), name)
            command = click.option(
                "--" + name.replace("_", "-"),
                type=type_,
                default=Size.text(default) if isinstance(type_, Size) else default,
                show_default=True,
                help=meaning,
            )(command)
    return command


def taken(kind: type[D], settings: Mapping[str, Any]) -> D:
    """The dataclass whose fields are among `settings`."""
    return kind(**{field.name: settings[field.name] for field in fields(kind)})
