"""Metrics: what is counted, what is read when asked for, and the port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import grpc
import numpy as np
import pytest

from extractor.addresses import Address
from extractor.errors import ImageTooLarge, InvalidImage, PenultimateError, Unavailable
from extractor.metrics import Exposition, Metrics
from extractor.results import Result, Timings
from extractor.tickets import Load
from extractor.wire import Info

T = TypeVar("T", Load, Info)
EMBED = "penultimate.v1.Extractor/Embed"


def made(kind: type[T], **said: Any) -> T:
    """A record; what is not given is zero."""
    return kind(**(dict.fromkeys((field.name for field in fields(kind)), 0) | said))  # type: ignore[arg-type]


@pytest.fixture
def now() -> Load:
    """An embedder that has something to do."""
    counts = {"computed": 9, "dropped": 5, "refused": 7, "hits": 11, "misses": 13, "cache_failures": 17}
    return made(Load, items=3, bytes=4096, oldest=1.5, **counts)


@pytest.fixture
def metrics(now: Load) -> Metrics:
    return Metrics(lambda: now)


def result(error: PenultimateError | None = None, *, cached: bool = False, **timings: Any) -> Result:
    vector = None if error else np.zeros(3, np.float32)
    return Result(vector, error, b"d" * 32, cached, "ab" * 32, timings=Timings(**timings))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def samples(metrics: Metrics, *beginnings: str) -> dict[str, float]:
    found = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: sample.value for sample in found if sample.name.startswith(beginnings)}


def test_a_call_is_in_flight_until_it_ends(metrics: Metrics, make_call: Callable[..., Any]) -> None:
    """Then it is counted by method and status, with its time."""
    call = make_call()
    metrics.begun(call)
    assert value(metrics, "penultimate_requests_in_flight") == 1
    metrics.ended(call, grpc.StatusCode.CANCELLED, "gone")
    assert value(metrics, "penultimate_requests_in_flight") == 0
    assert value(metrics, "penultimate_requests_total", method=EMBED, status="CANCELLED") == 1
    assert value(metrics, "penultimate_request_seconds_count", method=EMBED) == 1


def test_images_are_counted_by_outcome_and_errors_by_reason(
    metrics: Metrics, make_call: Callable[..., Any]
) -> None:
    """An image that fails in a call that succeeds is counted as failed."""
    results = [result(), result(cached=True), result(cached=True), result(InvalidImage("torn"))]
    metrics.answered(make_call(), [*results, result(ImageTooLarge("too large"))])
    counted = [
        value(metrics, "penultimate_items_total", outcome=outcome)
        for outcome in ("computed", "cached", "failed")
    ]
    assert counted == [1, 2, 2]
    assert value(metrics, "penultimate_item_errors_total", reason="InvalidImage") == 1
    assert value(metrics, "penultimate_item_errors_total", reason="ImageTooLarge") == 1


def test_a_stage_that_an_image_did_not_pass_is_not_observed(
    metrics: Metrics, make_call: Callable[..., Any]
) -> None:
    """Or the mean time of decoding would fall with every remembered image."""
    computed = result(waiting=0.001, decode=0.003, queue=0.01, inference=0.004, total=0.018, batch_size=4)
    remembered = result(cached=True, waiting=0.0005, total=0.0005)
    metrics.answered(make_call(), [computed, remembered])
    counts = {
        stage: value(metrics, "penultimate_stage_seconds_count", stage=stage)
        for stage in ("waiting", "decode", "queue", "inference", "total")
    }
    assert counts == {"waiting": 2, "decode": 1, "queue": 1, "inference": 1, "total": 2}
    assert value(metrics, "penultimate_stage_seconds_sum", stage="decode") == 0.003
    assert value(metrics, "penultimate_stage_seconds_bucket", stage="decode", le="0.0025") == 0
    assert value(metrics, "penultimate_stage_seconds_bucket", stage="decode", le="0.005") == 1
    assert value(metrics, "penultimate_batch_size_sum") == 4
    assert value(metrics, "penultimate_batch_size_count") == 1


def test_what_others_know_is_read_when_it_is_asked_for(now: Load) -> None:
    """The queue, what was dropped and rejected; never a copy that could be stale."""
    loads = [now, replace(now, items=0, bytes=0, oldest=0.0, dropped=6)]
    metrics = Metrics(lambda: loads.pop(0))
    assert samples(
        metrics, "penultimate_queue_", "penultimate_dropped_", "penultimate_rejected_", "penultimate_cache_"
    ) == {
        "penultimate_queue_items": 3,
        "penultimate_queue_bytes": 4096,
        "penultimate_queue_oldest_seconds": 1.5,
        "penultimate_dropped_items_total": 5,
        "penultimate_rejected_items_total": 7,
        "penultimate_cache_hits_total": 11,
        "penultimate_cache_misses_total": 13,
        "penultimate_cache_failures_total": 17,
    }
    assert samples(metrics, "penultimate_queue_items", "penultimate_dropped_") == {
        "penultimate_queue_items": 0,
        "penultimate_dropped_items_total": 6,
    }


def test_what_is_served_is_there_once_it_is_warm(metrics: Metrics) -> None:
    """Provider and precision apart, so that one can be told from many servers."""
    assert value(metrics, "penultimate_golden_cosine") is None
    labels = {"version": "0.1.0", "backbone": "lite0", "fingerprint": "ab" * 32}
    metrics.serving(made(Info, numerics="openvino/bf16", golden_cosine=0.9993, **labels))
    found = value(metrics, "penultimate_info", provider="openvino", precision="bf16", **labels)
    assert (found, value(metrics, "penultimate_golden_cosine")) == (1, 0.9993)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_prometheus_can_read_it(metrics: Metrics, host: str) -> None:
    """On a free port when any will do; afterwards nothing listens."""
    with closing(Exposition(metrics.registry, Address(host, 0))) as exposition:
        assert exposition.address.port
        with urlopen(f"http://{exposition.address}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    assert "penultimate_queue_items 3.0" in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(URLError, match="refused"):
        urlopen(f"http://{exposition.address}/metrics", timeout=60)


def test_an_address_that_is_taken_is_named(metrics: Metrics) -> None:
    """With the option that chose it."""
    taken = "address already in use.*--metrics-address"
    with (
        closing(Exposition(metrics.registry, Address("127.0.0.1", 0))) as first,
        pytest.raises(Unavailable, match=f"{first.address}: {taken}"),
    ):
        Exposition(metrics.registry, first.address)
