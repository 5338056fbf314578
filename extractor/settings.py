"""Where things lie, what they may be called, and the defaults and limits."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from extractor.errors import ImageTooLarge, InvalidArgument
from extractor.quota import quota

DEFAULT_BACKBONE = "efficientnet_lite0"
DEFAULT_ADDRESS = "127.0.0.1:50051"
MAX_MESSAGE_BYTES = 64 * 2**20
MAX_ITEMS_PER_CALL = 1024

TOKEN_VARIABLE = "PENULTIMATE_TOKEN"
"""The environment's name of the bearer token; the variable holds the secret itself."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may be, checked before it is decoded.

    Attributes
    ----------
    image_bytes : int
        Largest file.
    image_pixels : int
        Largest width times height.
    min_side : int
        Smallest width and height, in pixels: a single pixel or line shows nothing.
    """

    image_bytes: int = 32 * 2**20
    image_pixels: int = 89_000_000
    min_side: int = 2

    def check_bytes(self, size: int) -> None:
        """Raise ImageTooLarge for a file of more than `image_bytes`."""
        if size > self.image_bytes:
            raise ImageTooLarge(f"the file has {size:,} bytes; at most {self.image_bytes:,} are accepted")


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What the service takes on; what one image may be is in `Limits`.

    Attributes
    ----------
    message_bytes : int
        Largest request, and largest reply.
    items_per_call : int
        Images or digests of one call.
    streams : int
        Calls of EmbedStream at once.
    queue_items, queue_bytes : int
        Images, and bytes of images, that are accepted and not yet answered.
    bytes_at_once : int
        Bytes of requests in memory, with what those being received are expected to have.
    unsaid_bytes : int
        Room kept for a request whose caller does not say how large it is, until it is known.
    patience : float
        Seconds that a call waits for others to be received before it is refused.
    grace : float
        Seconds that accepted calls have to finish once the server is told to stop.
    """

    message_bytes: int = MAX_MESSAGE_BYTES
    items_per_call: int = MAX_ITEMS_PER_CALL
    streams: int = 256
    queue_items: int = 4096
    queue_bytes: int = 256 * 2**20
    bytes_at_once: int = 256 * 2**20
    unsaid_bytes: int = 16 * 2**20
    patience: float = 0.2
    grace: float = 30.0


@dataclass(frozen=True, slots=True)
class Connections:
    """How the service keeps its callers' HTTP/2 connections; times in seconds.

    Attributes
    ----------
    calls_per_connection : int
        Calls of one connection at once; the caller's gRPC keeps back what is more.
    keepalive : float
        Silence after which the server asks whether the caller is still there.
    ping_interval : float
        Shortest time between the pings of a caller; who pings more often is cut off.
    connection_age : float
        Age at which a connection is closed in peace, so that its caller connects
        anew, perhaps elsewhere; 0 for never.
    connection_age_grace : float
        How long calls of such a connection may go on.
    """

    calls_per_connection: int = 4096
    keepalive: float = 60.0
    ping_interval: float = 10.0
    connection_age: float = 0.0
    connection_age_grace: float = 60.0


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """When the service is taken for ill.

    Attributes
    ----------
    stalled_after : float
        Seconds that work may wait while no inference finishes.
    probe_after : float
        Seconds without an inference after which one is made, to see whether it can be.
    """

    stalled_after: float = 30.0
    probe_after: float = 60.0

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return min(1.0, self.stalled_after / 4, self.probe_after / 4)

    @property
    def probe_pause(self) -> float:
        """Seconds between two probes at the least."""
        return min(5.0, self.probe_after)


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder that holds all that the project keeps, and what lies where in it."""

    root: Path

    @classmethod
    def default(cls) -> DataFolder:
        """`$PENULTIMATE_DATA`, or the platform's folder for a user's data."""
        from platformdirs import user_data_path

        chosen = os.environ.get("PENULTIMATE_DATA")
        return cls(Path(chosen) if chosen else user_data_path("penultimate"))

    @property
    def backbones(self) -> Path:
        """One bundle folder per backbone."""
        return self.root / "backbones"

    @property
    def cache(self) -> Path:
        """The embedding cache (LMDB)."""
        return self.root / "cache"

    @property
    def collections(self) -> Path:
        """One folder per collection."""
        return self.root / "collections"

    @property
    def heads(self) -> Path:
        """One folder per head."""
        return self.root / "heads"

    @property
    def tuning(self) -> Path:
        """What was measured of this machine, by backbone and provider."""
        return self.root / "tuning"

    @property
    def graphs(self) -> Path:
        """What was made of backbones' networks for this machine, by fingerprint: int8 graphs, engines."""
        return self.root / "graphs"

    @property
    def settings(self) -> Path:
        """What `penultimate serve` takes settings from, where the file exists."""
        return self.root / "penultimate.toml"


def checked_name(kind: str, name: str) -> str:
    """Return `name` when it is safe as a file name.

    Raises
    ------
    InvalidArgument
        When it holds anything but letters, digits, dot, dash and underscore,
        starts with a dot or dash, or is longer than 100 characters.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} cannot be the name of a {kind}: use 1 to 100 letters, digits, '.', '-' "
            "and '_', beginning with a letter or digit"
        )
    return name


def cores() -> int:
    """Processor cores that this process may use, by its affinity and by its container's quota."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota())))
