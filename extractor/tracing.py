"""OpenTelemetry traces: a span for each call, in the caller's trace, with the stages of its slowest image.

The only importer of `opentelemetry`, which is the extra `tracing`: nobody
imports this module unless traces are wanted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import grpc
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from extractor.errors import InvalidArgument
from extractor.text import printable

if TYPE_CHECKING:
    from extractor.call import Call
    from extractor.results import Result, Timings

log = logging.getLogger(__name__)

OUR_FAULTS = frozenset(
    (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""The statuses that make a server's span an error, as OpenTelemetry's conventions for gRPC say."""

LAST_EXPORT = 5.0
"""Seconds that the end waits for a collector; left to itself, OpenTelemetry would wait for half a minute."""

STAGES = ("waiting", "decode", "queue", "inference")
"""The stages of `Timings` in the order in which an image passes them."""


@dataclass(slots=True)
class _Trace:
    """A call's span, and the image that took longest so far."""

    span: Span
    slowest: Timings | None = None
    answered: int = 0  # when, in nanoseconds since 1970

    def stages(self) -> Iterator[tuple[str, int, int]]:
        """Name, begin and end in nanoseconds of the slowest image's stages that took any time.

        Timings say how long, and not when: the image is taken to have been
        done when its message was answered. Where others of the message took
        longer, or came later, its stages stand that much too late, but never
        after the answer. An image that was under way for another caller has
        stages that may have begun before this call.
        """
        if self.slowest:
            seconds = [getattr(self.slowest, name) for name in STAGES]
            begin = self.answered - _ns(max(self.slowest.total, sum(seconds)))
            for name, taken in zip(STAGES, seconds, strict=True):
                end = begin + _ns(taken)
                if end > begin:
                    yield name, begin, end
                begin = end


class Tracing:
    """Traces each call; observes all calls of a server.

    A call of many images has no span for each of them: only the slowest
    image's stages are children of the call's span.

    Parameters
    ----------
    provider : TracerProvider
        Where spans go; closed with this object.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("penultimate", metadata.version("penultimate"))
        self._traces: dict[Call, _Trace] = {}

    def begun(self, call: Call) -> None:
        """Begin the call's span, as a child of the caller's when its metadata name one."""
        span = self._tracer.start_span(
            call.method,
            context=propagate.extract(call.metadata),
            kind=SpanKind.SERVER,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": call.method,
                "network.peer.address": printable(call.peer),
                "penultimate.request_id": call.request_id,
            },
        )
        self._traces[call] = _Trace(span)

    def answered(self, call: Call, results: Sequence[Result]) -> None:
        """Note the slowest image."""
        traced = self._traces[call]
        for timings in (result.timings for result in results if result.timings):
            if traced.slowest is None or timings.total > traced.slowest.total:
                traced.slowest, traced.answered = timings, time.time_ns()

    def ended(self, call: Call, code: grpc.StatusCode, why: str) -> None:
        """End the span, with what became of the call."""
        traced = self._traces.pop(call)
        span = traced.span
        span.set_attributes(
            {
                "rpc.response.status_code": code.name,
                "penultimate.items": call.items,
                "penultimate.cached": call.cached,
                "penultimate.failed": call.failed,
            }
        )
        self._add_stages(traced)
        if code is not grpc.StatusCode.OK:
            span.set_attribute("error.type", code.name)
        if code in OUR_FAULTS:
            span.set_status(Status(StatusCode.ERROR, printable(why)))
        span.end()

    def close(self, patience: float = LAST_EXPORT) -> None:
        """Export what was not exported yet; after `patience` seconds it is given up."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(patience)
        if ending.is_alive():
            log.warning("the last calls' spans are lost: their collector does not take them")

    def _add_stages(self, traced: _Trace) -> None:
        inside = trace.set_span_in_context(traced.span)
        for name, begin, end in traced.stages():
            stage = self._tracer.start_span(name, context=inside, start_time=begin)
            if name == "inference" and traced.slowest:
                stage.set_attribute("penultimate.batch_size", traced.slowest.batch_size)
            stage.end(end)


def provider_from_environment() -> TracerProvider:
    """Where the standard `OTEL_*` variables say that spans shall go; to an OTLP collector here if none does.

    Raises
    ------
    InvalidArgument
        When they name an exporter that is not installed.
    """
    ours = Resource({"service.name": "penultimate", "service.version": metadata.version("penultimate")})
    resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in _exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporters() -> Iterator[SpanExporter]:
    names = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    for name in (name.strip() for name in names.split(",")):
        if name == "otlp":
            protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
            name = "otlp_proto_" + protocol.partition("/")[0]
        if name != "none":
            yield _exporter(name)


def _exporter(name: str) -> SpanExporter:
    """The exporter that an installed package offers under `name`."""
    found = metadata.entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        raise InvalidArgument(
            f"there is no exporter {name!r} for traces: change OTEL_TRACES_EXPORTER, or install the "
            "package of OpenTelemetry that has it"
        )
    exporter = next(iter(found)).load()()
    assert isinstance(exporter, SpanExporter)
    return exporter


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
