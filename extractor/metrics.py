"""Prometheus metrics: what calls came to, what the embedder is doing, and the port to read them on."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from extractor.addresses import Address
from extractor.errors import Unavailable
from extractor.results import Result, Timings

if TYPE_CHECKING:
    from extractor.call import Call
    from extractor.tickets import Load
    from extractor.wire import Info

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper bounds of the histograms of time."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the histogram of batch sizes."""

STAGES = ("waiting", "decode", "queue", "inference", "total")
"""The fields of `Timings` that are seconds."""

OUTCOMES = ("computed", "cached", "failed")


class Metrics:
    """Counts what calls come to; observes all calls of a server.

    Parameters
    ----------
    load : callable
        Gives the embedder's `Load`, which is asked for at every scrape.

    Attributes
    ----------
    registry : CollectorRegistry
        This server's metrics, and no other's.
    """

    def __init__(self, load: Callable[[], Load]) -> None:
        self.registry = CollectorRegistry()
        self._live = _Live(load)
        self.registry.register(self._live)
        ProcessCollector(registry=self.registry)
        ours: Any = {"namespace": "penultimate", "registry": self.registry}
        times = ours | {"buckets": SECONDS}
        self._in_flight = Gauge("requests_in_flight", "Calls that are not answered yet.", **ours)
        self._requests = Counter("requests", "Calls that ended.", ["method", "status"], **ours)
        self._seconds = Histogram(
            "request_seconds", "Time from a call's begin to its end.", ["method"], **times
        )
        self._unauthenticated = Counter("unauthenticated", "Calls without an accepted token.", **ours)
        items = Counter("items", "Images answered.", ["outcome"], **ours)
        self._items = {outcome: items.labels(outcome) for outcome in OUTCOMES}
        self._errors = Counter("item_errors", "Images answered with an error.", ["reason"], **ours)
        self._batches = Histogram("batch_size", "Images in each image's run.", buckets=SIZES, **ours)
        stages = Histogram("stage_seconds", "Time of an image in each stage it passed.", ["stage"], **times)
        self._stages = [(stage, stages.labels(stage)) for stage in STAGES]

    def serving(self, what: Info) -> None:
        """Expose from now on what is served."""
        self._live.serving = what

    def unauthenticated(self) -> None:
        """Count a call that was refused for want of the token, which is no call to those who watch."""
        self._unauthenticated.inc()

    def begun(self, _call: Call) -> None:
        """One more call in flight."""
        self._in_flight.inc()

    def answered(self, _call: Call, results: Sequence[Result]) -> None:
        """Count the images of one message, and their stages."""
        for outcome, count in Tally(map(_outcome, results)).items():
            self._items[outcome].inc(count)
        for result in results:
            if result.error:
                self._errors.labels(type(result.error).__name__).inc()
            if result.timings:
                self._observe(result.timings)

    def ended(self, call: Call, code: grpc.StatusCode, _why: str) -> None:
        """One call less in flight."""
        self._in_flight.dec()
        self._requests.labels(call.method, code.name).inc()
        self._seconds.labels(call.method).observe(time.monotonic() - call.begun)

    def _observe(self, timings: Timings) -> None:
        for stage, histogram in self._stages:
            if seconds := getattr(timings, stage):
                histogram.observe(seconds)
        if timings.batch_size:
            self._batches.observe(timings.batch_size)


class Exposition:
    """Answers Prometheus over HTTP, in threads of its own.

    Parameters
    ----------
    registry : CollectorRegistry
    address : Address
        Port 0 takes a free one.

    Attributes
    ----------
    address : Address
        Where it listens, with the real port.

    Raises
    ------
    Unavailable
        When the address cannot be had.
    """

    def __init__(self, registry: CollectorRegistry, address: Address) -> None:
        self._registry = registry
        self._servers: list[WSGIServer] = []
        try:
            self.address = address.bind(self._listen, "--metrics-address")
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _listen(self, where: str) -> int:
        host, _, port = where.rpartition(":")
        try:
            server, _ = start_http_server(int(port), host.strip("[]"), self._registry)
        except OSError as error:
            raise RuntimeError(str(error)) from error
        self._servers.append(server)
        return server.server_port


class _Live(Collector):
    """What is known elsewhere and read when it is asked for."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load
        self.serving: Info | None = None

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        for kind, name, meaning, value in _readings(load):
            yield kind(f"penultimate_{name}", meaning, value=value)
        if self.serving:
            yield from _facts(self.serving)


def _readings(load: Load) -> Iterator[tuple[type[GaugeMetricFamily | CounterMetricFamily], str, str, float]]:
    gauge, counter = GaugeMetricFamily, CounterMetricFamily
    yield gauge, "queue_items", "Images accepted and not yet answered.", load.items
    yield gauge, "queue_bytes", "Bytes of those images' files.", load.bytes
    yield gauge, "queue_oldest_seconds", "Age of the oldest of them; 0 when there is none.", load.oldest
    yield counter, "computed_items", "Images that went through the network.", load.computed
    yield counter, "dropped_items", "Images whose caller had gone, or could wait no longer.", load.dropped
    yield counter, "rejected_items", "Images not accepted, since too much was pending.", load.refused
    yield counter, "cache_hits", "Vectors that were asked for and remembered.", load.hits
    yield counter, "cache_misses", "Vectors that were asked for and not remembered.", load.misses
    yield counter, "cache_failures", "Reads and writes of the cache that failed.", load.cache_failures
    yield gauge, "workers_alive", "1 while every thread that runs the network is there.", load.alive
    if load.computed:
        since = time.time() - (time.monotonic() - load.last_inference)
        yield gauge, "last_inference_timestamp_seconds", "When the network last answered.", since


def _facts(what: Info) -> Iterator[Metric]:
    provider, _, precision = what.numerics.partition("/")
    labels = {
        "version": what.version,
        "backbone": what.backbone,
        "fingerprint": what.fingerprint,
        "provider": provider,
        "precision": precision,
    }
    yield InfoMetricFamily("penultimate", "What is served, and on what; absent until it is warm.", labels)
    yield GaugeMetricFamily(
        "penultimate_golden_cosine", "Smallest cosine of the golden test at the start.", what.golden_cosine
    )


def _outcome(result: Result) -> str:
    if result.error:
        return "failed"
    return "cached" if result.cached else "computed"
