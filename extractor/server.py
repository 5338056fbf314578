"""The server process: bind, warm up, say so, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import FileDescriptor

from extractor._pb.inference import open_inference_pb2
from extractor._pb.penultimate.v1 import collections_pb2, penultimate_pb2
from extractor.addresses import Address
from extractor.call import Observer
from extractor.calls import Calls
from extractor.collections_service import SERVICE as COLLECTIONS
from extractor.collections_service import CollectionsService
from extractor.errors import InvalidArgument
from extractor.health import Health, Vigil
from extractor.kserve import service as kserve
from extractor.methods import Methods
from extractor.security import Certificates, Token, TokenInterceptor
from extractor.service import SERVICE, ExtractorService
from extractor.settings import Connections, DataFolder, HealthChecks, ServiceLimits
from extractor.submission import Submits

log = logging.getLogger(__name__)

WINDOW_BYTES = 256 * 2**10
"""What a caller may send before it hears from us: with HTTP/2's 64 KiB a photo of 100 kB waits half-way."""

LAST = 10.0
"""Seconds after the grace in which the process ends, whatever hangs."""

SERVICES = (SERVICE, kserve.SERVICE)
"""What embeds, and has a health of its own."""


class Service(Protocol):
    """What else a server answers for, made where it is put together."""

    @property
    def name(self) -> str:
        """As in the contract, in full."""
        ...

    @property
    def contract(self) -> FileDescriptor:
        """What reflection describes."""
        ...

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """What gRPC calls for each method."""
        ...

    async def close(self) -> None:
        """Finish; nothing is accepted any more."""
        ...


MakeService: TypeAlias = Callable[[Submits, Calls], Service]


class Server:
    """One embedder behind one address.

    Parameters
    ----------
    embedder : Embedder
    address : str
        `HOST:PORT`; port 0 takes a free one.
    collections : DataFolder, optional
        Whose collections are served; without, there are none.
    services : sequence of callable
        Each makes one more service, of the embedder and what all calls share.
    limits : ServiceLimits, optional
    connections : Connections, optional
    checks : HealthChecks, optional
    certificates : Certificates, optional
        For TLS; without, everything is in plain text.
    token : Token, optional
        What every call but health checks has to show.
    observers : sequence of Observer
        What watches all calls.
    unauthenticated : callable
        Told of each call that is refused for want of the token; those who
        watch calls do not see it.
    insecure : bool
        Allow plain text on an address that other machines can reach.

    Attributes
    ----------
    address : str
        Where it listens; with the real port once started.

    Raises
    ------
    InvalidArgument
        When the address is none, or other machines could reach it in plain
        text and `insecure` was not given.
    """

    def __init__(
        self,
        embedder: Submits,
        address: str,
        *,
        collections: DataFolder | None = None,
        services: Sequence[MakeService] = (),
        limits: ServiceLimits | None = None,
        connections: Connections | None = None,
        checks: HealthChecks | None = None,
        certificates: Certificates | None = None,
        token: Token | None = None,
        observers: Sequence[Observer] = (),
        unauthenticated: Callable[[], None] = lambda: None,
        insecure: bool = False,
    ) -> None:
        self._wanted = Address.parse(address)
        if not (certificates or insecure or self._wanted.is_loopback):
            raise InvalidArgument(_in_plain_text(address, token))
        self.address = address
        self.limits = limits or ServiceLimits()
        self.calls = Calls(self.limits, observers)
        self.service = ExtractorService(embedder, self.calls)
        self._embedder = embedder
        self._connections = connections or Connections()
        self._certificates = certificates
        self._interceptors = [TokenInterceptor(token, unauthenticated)] if token else []
        self._more = [make(embedder, self.calls) for make in services]
        own = (*SERVICES, COLLECTIONS) if collections else SERVICES
        self._services = (*own, *(service.name for service in self._more))
        self._health = Health(self._services)
        self._inference = kserve.InferenceService(embedder, self.service, self.calls, self._health)
        self._collections = CollectionsService(embedder, collections, self.calls) if collections else None
        self._checks = checks or HealthChecks()
        self._vigil: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Listen; answer health checks with NOT_SERVING until `warm` is done.

        Raises
        ------
        Unavailable
            When the address cannot be had, as when another server is there.
        AlreadyExists
            When another server has the folder of the collections.
        """
        options = _channel_options(self.limits, self._connections)
        self._grpc = grpc.aio.server(options=options, interceptors=self._interceptors)
        self._answer(Methods(self._grpc))
        await self._health.tell("the network is being loaded")
        self.address = str(self._wanted.bind(self._listen))
        if self._collections:
            self._collections.occupy(self.address)
        await self._grpc.start()

    async def warm(self) -> None:
        """Load and prove the network, then serve unless it stops; raises what `Embedder.warm` raises."""
        await asyncio.to_thread(self._embedder.warm)
        if self._stopping:
            return
        self.calls.not_ready = ""
        self._vigil = asyncio.create_task(Vigil(self._embedder, self._checks).keep(self._health.tell))
        await self._health.tell("")

    async def stop(self, grace: float | None = None) -> None:
        """Turn NOT_SERVING, take nothing new, finish what was accepted within `grace` seconds.

        When it is left out, `limits.grace` is taken.
        """
        self._stopping = True
        await self._health.enter_graceful_shutdown()
        if self._vigil:
            self._vigil.cancel()
        await self.calls.drain(self.limits.grace if grace is None else grace)
        await self._health.send_watchers_away()
        await self._grpc.stop(grace=1)
        if self._collections:
            await self._collections.close()
        for service in self._more:
            await service.close()

    def _answer(self, methods: Methods) -> None:
        """Take the calls of all services."""
        methods.add(SERVICE, self.service.methods())
        methods.add(kserve.SERVICE, self._inference.methods())
        if self._collections:
            methods.add(COLLECTIONS, self._collections.methods())
        for service in self._more:
            methods.add(service.name, service.methods())
        methods.add_health(self._health)
        own = (penultimate_pb2, collections_pb2, open_inference_pb2)
        contracts = (*(each.DESCRIPTOR for each in own), *(service.contract for service in self._more))
        methods.add_reflection(self._services, contracts)

    def _listen(self, address: str) -> int:
        """Listen on one numeric address; gRPC raises RuntimeError where it cannot."""
        if self._certificates:
            return self._grpc.add_secure_port(address, self._certificates.credentials())
        return self._grpc.add_insecure_port(address)


def run(server: Server, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    Parameters
    ----------
    server : Server
    ready : callable
        Called once the server answers.

    Raises
    ------
    PenultimateError
        When it cannot listen, or cannot run the network.
    """
    import uvloop  # a fifth less of the processor for each call than asyncio's own loop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(server, ready))


async def _run(server: Server, ready: Callable[[], None]) -> None:
    stopped = _stop_signal(server.limits.grace + LAST)
    await server.start()
    try:
        warming = asyncio.ensure_future(server.warm())
        await asyncio.wait({warming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            await warming
            _spare_collector()
            ready()
            await stopped
    finally:
        log.info("stopping: finishing what was accepted, for at most %g s", server.limits.grace)
        await server.stop()
        log.info("stopped")


def _spare_collector() -> None:
    """Let the garbage collector pass over what stays: looking through it stops all threads for 40 ms."""
    gc.collect()
    gc.freeze()


def _stop_signal(seconds: float) -> asyncio.Future[None]:
    """Done at the first SIGTERM or SIGINT; the next of either, or `seconds`, ends the process on the spot."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # Python's own for SIGINT would wait for threads
        stopped.set_result(None)
        end = threading.Timer(seconds, _give_up)  # a run that hangs would keep its thread, and us, for ever
        end.daemon = True
        end.start()

    for number in signals:
        loop.add_signal_handler(number, stop)
    return stopped


def _give_up() -> None:
    log.critical("something hangs, and the process ends without it")
    os._exit(1)


def _channel_options(limits: ServiceLimits, connections: Connections) -> list[tuple[str, int]]:
    """The limits as gRPC's core knows them; its times are milliseconds."""
    options = [
        ("grpc.so_reuseport", 0),  # else two servers share one port, and neither says so
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.max_concurrent_streams", connections.calls_per_connection),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.keepalive_time_ms", round(1000 * connections.keepalive)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1000 * connections.ping_interval)),
    ]
    if connections.connection_age:
        options += [
            ("grpc.max_connection_age_ms", round(1000 * connections.connection_age)),
            ("grpc.max_connection_age_grace_ms", round(1000 * connections.connection_age_grace)),
        ]
    return options


def _in_plain_text(address: str, token: Token | None) -> str:
    without = (
        "without encryption, and the token could be read on the way"
        if token
        else ("without encryption or password")
    )
    return (
        f"{address} can be reached from other machines, {without}: listen on 127.0.0.1, give "
        "--tls-certificate and --tls-key, or --insecure if the network is trusted"
    )
