"""Says whether the service works, from what its network really does: `grpc.health.v1`."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse

from extractor.settings import HealthChecks
from extractor.tickets import Load

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What is judged."""

    def load(self) -> Load: ...  # noqa: D102
    def probe(self) -> Future[None]: ...  # noqa: D102


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard health service, of several services that live and die together.

    Watchers can be sent away: gRPC would wait for them to leave.

    Parameters
    ----------
    services : sequence of str
        Full names; the server as a whole is always among them.
    """

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = ("", *services)
        self._watches: set[asyncio.Future[None]] = set()

    async def tell(self, trouble: str) -> None:
        """SERVING when there is no trouble; without effect once the server stops."""
        status = HealthCheckResponse.NOT_SERVING if trouble else HealthCheckResponse.SERVING
        for name in self._services:
            await self.set(name, status)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - named by the contract
        """Tell each change until the caller leaves, or is sent away."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
            if not watch.cancelled():
                await watch
        finally:
            self._watches.discard(watch)
            watch.cancel()

    async def send_watchers_away(self) -> None:
        """End every watch, once it has had a moment to tell the last status."""
        if self._watches:
            _, staying = await asyncio.wait(self._watches, timeout=0.2)
            for watch in staying:
                watch.cancel()


class Vigil:
    """Judges whether an embedder works, again and again.

    It does not when the threads that run its network have ended, when work has
    waited long and no inference finished meanwhile, or when a golden picture
    fails. That picture is run when the network has been idle for a while, and
    soon after it failed with an image. One inference that goes well ends the
    trouble.

    Parameters
    ----------
    embedder : Watched
        Warm: its network has been proved.
    checks : HealthChecks
    clock : callable
        Seconds, as those of `Load.last_inference`.
    """

    def __init__(
        self, embedder: Watched, checks: HealthChecks, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._embedder, self._checks, self._clock = embedder, checks, clock
        self._proved = self._probed = clock()
        self._probe: Future[None] | None = None
        self._failed = embedder.load().failed
        self._trouble, self._trouble_since = "", -math.inf

    async def keep(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Tell what is wrong, or nothing, whenever that changes; until cancelled."""
        told = ""
        while True:
            await asyncio.sleep(self._checks.pause)
            trouble = self._examined()
            if bool(trouble) != bool(told):
                _log(trouble)
                await tell(trouble)
            told = trouble

    def _examined(self) -> str:
        try:
            return self.examine()
        except Exception as error:
            log.exception("health cannot be examined")
            return f"health cannot be examined: {error}"

    def examine(self) -> str:
        """What is wrong; empty when nothing is. Begins a probe when one is due, and waits for nothing."""
        load, now = self._embedder.load(), self._clock()
        if not load.alive:
            return "a thread that runs the network has ended"
        self._take_probe(now)
        proved = max(load.last_inference, self._proved)
        if proved > self._trouble_since:
            self._trouble = ""
        if self._is_due(load, now - proved, now - self._probed):
            self._probe, self._probed, self._failed = self._embedder.probe(), now, load.failed
        return self._stall(load, now, proved) or self._trouble

    def _stall(self, load: Load, now: float, proved: float) -> str:
        """Whether something waits, an image or the probe, while nothing is finished."""
        waiting = max(load.oldest, now - self._probed if self._probe else 0.0)
        if min(waiting, now - proved) <= self._checks.stalled_after:
            return ""
        return f"work has waited for {waiting:.1f} s, and no inference has finished for {now - proved:.1f} s"

    def _is_due(self, load: Load, unproved: float, unprobed: float) -> bool:
        """Whether to run the golden picture, for seconds without an inference and without a probe."""
        if self._probe or unprobed < self._checks.probe_pause:
            return False
        return bool(self._trouble) or load.failed > self._failed or unproved > self._checks.probe_after

    def _take_probe(self, now: float) -> None:
        """What came of the probe, once it has ended."""
        if not self._probe or not self._probe.done():
            return
        probe, self._probe = self._probe, None
        error = None if probe.cancelled() else probe.exception()
        if error is None:
            self._proved = now
        else:
            self._trouble, self._trouble_since = f"a golden picture cannot be embedded: {error}", now


def _log(trouble: str) -> None:
    if trouble:
        log.error("not serving: %s", trouble)
    else:
        log.warning("serving again: the network answers")
