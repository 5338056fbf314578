"""The server process: bind, warm up, say so, drain, stop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import re
import signal
import socket
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from extractor import wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor.errors import InvalidArgument, Unavailable
from extractor.service import ExtractorService, Submits
from extractor.settings import ServiceLimits

log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds that accepted calls have to finish once the server is told to stop."""

SERVICE = pb.DESCRIPTOR.services_by_name["Extractor"].full_name

_OPTIONS = [
    *wire.MESSAGE_LIMITS,
    ("grpc.so_reuseport", 0),  # else two servers share one port, and neither says so
]


class Server:
    """One embedder behind one address.

    Parameters
    ----------
    embedder : Embedder
    address : str
        `HOST:PORT`; port 0 takes a free one.
    limits : ServiceLimits, optional
    insecure : bool
        Allow an address that other machines can reach.

    Attributes
    ----------
    address : str
        Where it listens; with the real port once started.

    Raises
    ------
    InvalidArgument
        When the address is none, or other machines could reach it and
        `insecure` was not given.
    """

    def __init__(
        self,
        embedder: Submits,
        address: str,
        *,
        limits: ServiceLimits | None = None,
        insecure: bool = False,
    ) -> None:
        self._host, self._port = split_address(address)
        if not (insecure or is_loopback(self._host)):
            raise InvalidArgument(
                f"{address} can be reached from other machines, without encryption or password: "
                "listen on 127.0.0.1, or give --insecure if the network is trusted"
            )
        self.address = address
        self.limits = limits or ServiceLimits()
        self.service = ExtractorService(embedder, self.limits)
        self._embedder = embedder
        self._health = _Health()

    async def start(self) -> None:
        """Listen; answer health checks with NOT_SERVING until `warm` is done.

        Raises
        ------
        Unavailable
            When the address cannot be had, as when another server is there.
        """
        self._grpc = grpc.aio.server(options=_OPTIONS)
        self._grpc.add_registered_method_handlers(SERVICE, self.service.methods())
        add_HealthServicer_to_server(self._health, self._grpc)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._grpc)
        await self._set_health(HealthCheckResponse.NOT_SERVING)
        self.address = f"{self._host}:{self._bind()}"
        await self._grpc.start()

    async def warm(self) -> None:
        """Load and prove the network, then serve; raises what `Embedder.warm` raises."""
        await asyncio.to_thread(self._embedder.warm)
        self.service.not_ready = ""
        await self._set_health(HealthCheckResponse.SERVING)

    async def stop(self, grace: float = GRACE) -> None:
        """Turn NOT_SERVING, take nothing new, finish what was accepted within `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self.service.drain(grace)
        await self._health.send_watchers_away()
        await self._grpc.stop(grace=1)

    def _bind(self) -> int:
        """Listen on every address that the host's name stands for, all on one port.

        Left to itself, gRPC is content with one of them: two servers could
        listen under one name.
        """
        port, bound, missing = self._port, 0, OSError("it has no address")
        for host in self._hosts():
            try:
                port = self._grpc.add_insecure_port(f"{host}:{port}")
                bound += 1
            except RuntimeError:
                missing = _why_not(host, port)
                if missing.errno != errno.EADDRNOTAVAIL:  # a name may stand for more than this machine has
                    raise self._cannot_listen(missing) from missing
        if not bound:
            raise self._cannot_listen(missing) from missing
        return port

    def _hosts(self) -> list[str]:
        """The addresses of `self._host`, each as gRPC writes it."""
        try:
            found = socket.getaddrinfo(self._host.strip("[]"), None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._cannot_listen(error) from error
        return [
            f"[{where[0]}]" if family is socket.AF_INET6 else str(where[0]) for family, *_, where in found
        ]

    def _cannot_listen(self, reason: OSError) -> Unavailable:
        return Unavailable(
            f"cannot listen on {self._host}:{self._port}: {(reason.strerror or str(reason)).lower()}. "
            "Choose another --address, or stop what listens there"
        )

    async def _set_health(self, status: HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard health service, whose watchers can be sent away: gRPC would wait for them to leave."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Future[None]] = set()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - named by the contract
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


def run(server: Server, ready: Callable[[], None], *, grace: float = GRACE) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    Parameters
    ----------
    server : Server
    ready : callable
        Called once the server answers.
    grace : float
        Seconds for what was accepted.

    Raises
    ------
    PenultimateError
        When it cannot listen, or cannot run the network.
    """
    asyncio.run(_run(server, ready, grace))


async def _run(server: Server, ready: Callable[[], None], grace: float) -> None:
    stopped = _stop_signal()
    await server.start()
    try:
        warming = asyncio.ensure_future(server.warm())
        await asyncio.wait({warming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            await warming
            ready()
            await stopped
    finally:
        log.info("stopping: finishing what was accepted, for at most %g s", grace)
        await server.stop(grace)
        log.info("stopped")


def _stop_signal() -> asyncio.Future[None]:
    """Done at the first SIGTERM or SIGINT; the next of either ends the process on the spot."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # Python's own for SIGINT would wait for threads
        stopped.set_result(None)

    for number in signals:
        loop.add_signal_handler(number, stop)
    return stopped


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; an IPv6 host stands in brackets.

    Raises
    ------
    InvalidArgument
        When it is something else.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(\d{1,5})", address)
    if not found or int(found[2]) > 65535:
        raise InvalidArgument(f"{address!r} is no address: write HOST:PORT, such as 127.0.0.1:50051")
    return found[1], int(found[2])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _why_not(host: str, port: int) -> OSError:
    """What the system says to binding; gRPC keeps it to itself."""
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        return error
    return OSError(errno.EADDRINUSE, "the address is in use")
