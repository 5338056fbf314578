"""Spans of calls: whose trace, what they say, their stages, and where they go."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from extractor.errors import InvalidArgument, InvalidImage
from extractor.results import Result, Timings
from extractor.tracing import Tracing, provider_from_environment

OK = grpc.StatusCode.OK


class Traced:
    """Tracing whose spans the test reads."""

    def __init__(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.tracing.close()


def result(timings: Timings) -> Result:
    return Result(None, InvalidImage("no picture"), b"d" * 32, False, "ab" * 32, timings=timings)


def test_a_call_is_a_span_in_the_callers_trace(traced: Traced, make_call: Callable[..., Any]) -> None:
    """With what became of it."""
    parent = "00-" + "1a" * 16 + "-" + "2b" * 8 + "-01"
    call = make_call("id-1", {"traceparent": parent}, items=3, cached=1, failed=2)
    traced.tracing.begun(call)
    traced.tracing.ended(call, OK, "")
    (span,) = traced.spans().values()
    assert span.name == "penultimate.v1.Extractor/Embed"
    assert span.kind.name == "SERVER"
    assert f"{span.context.trace_id:032x}" == "1a" * 16
    assert f"{span.parent.span_id:016x}" == "2b" * 8
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "penultimate.v1.Extractor/Embed",
        "rpc.response.status_code": "OK",
        "network.peer.address": "ipv4:127.0.0.1:5",
        "penultimate.request_id": "id-1",
        "penultimate.items": 3,
        "penultimate.cached": 1,
        "penultimate.failed": 2,
    }
    assert span.status.is_unset


@pytest.mark.parametrize("metadata", [{}, {"traceparent": "nonsense"}, {"traceparent": "00-\x1b-\x00-01"}])
def test_without_a_callers_trace_a_new_one_begins(
    traced: Traced, make_call: Callable[..., Any], metadata: dict[str, str]
) -> None:
    """Also when what the caller sends is none."""
    call = make_call("a", metadata)
    traced.tracing.begun(call)
    traced.tracing.ended(call, OK, "")
    (span,) = traced.spans().values()
    assert span.parent is None
    assert span.context.is_valid


def test_a_trace_that_the_caller_does_not_record_is_not_recorded(
    traced: Traced, make_call: Callable[..., Any]
) -> None:
    """Its sampling holds for the whole trace."""
    call = make_call("a", {"traceparent": "00-" + "1a" * 16 + "-" + "2b" * 8 + "-00"})
    traced.tracing.begun(call)
    traced.tracing.answered(call, [result(Timings(total=1, waiting=1))])
    traced.tracing.ended(call, OK, "")
    assert not traced.spans()


def test_the_slowest_images_stages_are_children(traced: Traced, make_call: Callable[..., Any]) -> None:
    """One after the other, up to the answer; a stage that took no time is none."""
    call = make_call("a")
    slow = Timings(waiting=0.001, decode=0.002, inference=0.004, total=0.007, batch_size=8)
    before = time.time_ns()
    traced.tracing.begun(call)
    traced.tracing.answered(call, [result(Timings(total=0.001, queue=0.001)), result(slow)])
    traced.tracing.answered(call, [result(Timings(total=0.002, queue=0.002))])
    traced.tracing.ended(call, OK, "")
    spans = traced.spans()
    whole = spans.pop("penultimate.v1.Extractor/Embed")
    assert list(spans) == ["waiting", "decode", "inference"]
    assert [span.end_time - span.start_time for span in spans.values()] == [1_000_000, 2_000_000, 4_000_000]
    assert spans["decode"].start_time == spans["waiting"].end_time
    assert spans["inference"].start_time == spans["decode"].end_time
    assert before <= spans["inference"].end_time <= time.time_ns()
    assert {span.parent.span_id for span in spans.values()} == {whole.context.span_id}
    assert spans["inference"].attributes == {"penultimate.batch_size": 8}


def test_an_image_that_was_under_way_already_is_not_done_after_the_answer(
    traced: Traced, make_call: Callable[..., Any]
) -> None:
    """Its stages are those of whoever sent it first: longer than this caller waited."""
    call = make_call("a")
    traced.tracing.begun(call)
    timings = Timings(waiting=1, decode=2, inference=4, total=0.001)
    traced.tracing.answered(call, [result(timings)])
    traced.tracing.ended(call, OK, "")
    spans = traced.spans()
    whole = spans["penultimate.v1.Extractor/Embed"]
    assert spans["inference"].end_time <= whole.end_time
    assert spans["waiting"].start_time < whole.start_time


@pytest.mark.parametrize(
    ("code", "status"), [(grpc.StatusCode.INTERNAL, "ERROR"), (grpc.StatusCode.INVALID_ARGUMENT, "UNSET")]
)
def test_only_the_servers_faults_are_errors(
    traced: Traced, make_call: Callable[..., Any], code: grpc.StatusCode, status: str
) -> None:
    """As OpenTelemetry's conventions have it; the status is there for both."""
    call = make_call("a")
    traced.tracing.begun(call)
    traced.tracing.ended(call, code, "why")
    (span,) = traced.spans().values()
    assert (span.status.status_code.name, span.attributes["error.type"]) == (status, code.name)


def test_spans_reach_a_collector(collector: list[Any], make_call: Callable[..., Any]) -> None:
    """Where the standard variable says, at the latest when tracing is closed."""
    tracing = Tracing(provider_from_environment())
    call = make_call("id-2")
    tracing.begun(call)
    tracing.ended(call, OK, "")
    tracing.close()
    (spans,) = collector[0].resource_spans
    assert spans.scope_spans[0].spans[0].name == "penultimate.v1.Extractor/Embed"
    service = {pair.key: pair.value.string_value for pair in spans.resource.attributes}
    assert service["service.name"] == "penultimate"


def test_the_environment_names_the_service(
    collector: list[Any], make_call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our name is only the default."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "photos")
    provider = provider_from_environment()
    assert provider.resource.attributes["service.name"] == "photos"
    provider.shutdown()


def test_an_exporter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that asks for it."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(InvalidArgument, match=r"'pigeon'.*OTEL_TRACES_EXPORTER"):
        provider_from_environment()


def test_a_collector_that_does_not_answer_does_not_keep_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """What it did not take is given up, and the log says so."""
    answered = threading.Event()

    class Stuck(SpanProcessor):
        def shutdown(self) -> None:
            answered.wait(60)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Stuck())
    Tracing(provider).close(patience=0.01)
    assert not answered.is_set()
    assert "spans are lost" in caplog.text
    answered.set()


def test_nothing_of_it_is_imported_unless_it_is_wanted() -> None:
    """The server runs without the extra."""
    script = (
        "import sys, extractor.cli.serve, extractor.server, extractor.metrics, extractor.logs\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
