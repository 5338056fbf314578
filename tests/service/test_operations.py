"""What a real server says of itself: metrics, log, request ids, traces."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub

PATIENCE_S = 60
DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
METRICS = ("--metrics-address", "127.0.0.1:0")
EMBED = "penultimate.v1.Extractor/Embed"

Sample = tuple[str, tuple[tuple[str, str], ...]]


class Watched:
    """A server that answers Prometheus."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.where = server.line.split("metrics=")[1].strip()

    def text(self) -> str:
        with urlopen(f"http://{self.where}/metrics", timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    def samples(self) -> dict[Sample, float]:
        families = text_string_to_metric_families(self.text())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples().get((f"penultimate_{name}", tuple(sorted(labels.items()))), 0)

    def wait_for_end(self, count: int, **labels: str) -> None:
        """Until calls have ended for the server; one that failed has so a moment before for its caller."""
        wait_until(lambda: self.value("requests_total", **labels) == count)


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def calling(address: str) -> Iterator[ExtractorStub]:
    with grpc.insecure_channel(address) as channel:
        yield ExtractorStub(channel)


@pytest.fixture
def watched(serve: Callable[..., Any]) -> Watched:
    return Watched(serve(*METRICS))


def test_the_metrics_say_what_was_done(watched: Watched, picture: Callable[..., bytes]) -> None:
    """Computed, remembered and torn images, each where it belongs, and nothing is left in flight."""
    with calling(watched.server.address) as stub:
        first = stub.Embed(pb.EmbedRequest(images=[picture(1), picture(2), b"no picture"]))
        stub.Embed(pb.EmbedRequest(images=[picture(1)]))
        stub.Lookup(pb.LookupRequest(digests=[first.results[0].digest, bytes(32)]))
        info = stub.GetInfo(pb.GetInfoRequest())
    assert watched.value("requests_total", method=EMBED, status="OK") == 2
    outcomes = {key: watched.value("items_total", outcome=key) for key in ("computed", "cached", "failed")}
    assert outcomes == {"computed": 2, "cached": 1, "failed": 1}
    assert watched.value("item_errors_total", reason="InvalidImage") == 1
    assert watched.value("computed_items_total") == 2
    assert (watched.value("cache_hits_total"), watched.value("cache_misses_total")) == (2, 4)
    counts = {
        stage: watched.value("stage_seconds_count", stage=stage)
        for stage in ("waiting", "inference", "total")
    }
    assert counts == {"waiting": 3, "inference": 2, "total": 4}
    assert watched.value("requests_in_flight") == 0
    assert [watched.value(f"queue_{what}") for what in ("items", "bytes", "oldest_seconds")] == [0, 0, 0]
    provider, _, precision = info.numerics.partition("/")
    facts = {"version": info.version, "backbone": info.backbone, "fingerprint": info.fingerprint}
    assert watched.value("info", provider=provider, precision=precision, **facts) == 1
    assert 0.99 <= watched.value("golden_cosine") <= 1


def test_a_caller_that_leaves_is_counted(watched: Watched, picture: Callable[..., bytes]) -> None:
    """Its call as cancelled, its images as dropped; nothing stays in flight; the next call is answered."""
    images = [picture(seed) for seed in range(300)]
    with calling(watched.server.address) as stub:
        call = stub.Embed.future(pb.EmbedRequest(images=images))
        wait_until(lambda: watched.value("queue_items") > 100)
        assert watched.value("queue_bytes") > 0
        assert watched.value("requests_in_flight") == 1
        call.cancel()
        watched.wait_for_end(1, method=EMBED, status="CANCELLED")
        wait_until(lambda: watched.value("queue_items") == 0)
        assert watched.value("requests_in_flight") == 0
        wait_until(lambda: watched.value("dropped_items_total") > 0)
        assert stub.Embed(pb.EmbedRequest(images=[picture(1000)])).results[0].embedding
    assert watched.value("items_total", outcome="computed") == 1


def test_what_is_too_much_is_counted_and_logged(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """As rejected, with the reason in a warning that names the call."""
    watched = Watched(serve(*METRICS, "--queue-items", "1"))
    with calling(watched.server.address) as stub:
        first = stub.Embed.future(pb.EmbedRequest(images=[picture(seed) for seed in range(400)]))
        while not watched.value("queue_items"):
            assert not first.done()
        with pytest.raises(grpc.RpcError) as caught:
            stub.Embed(pb.EmbedRequest(images=[picture(400)]), metadata=(("penultimate-request-id", "much"),))
        assert len(first.result().results) == 400
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    watched.wait_for_end(1, method=EMBED, status="RESOURCE_EXHAUSTED")
    assert watched.value("rejected_items_total") > 0
    (line,) = lines(watched.server, request_id="much")
    assert (line["level"], line["status"]) == ("warning", "RESOURCE_EXHAUSTED")
    assert line["why"] == caught.value.details()


def test_calls_without_the_token_are_counted(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Apart from all others: nothing of them was received, and whoever may call is not among them."""
    (tmp_path / "token").write_text("right-token")
    watched = Watched(serve(*METRICS, "--token-file", str(tmp_path / "token")))
    with calling(watched.server.address) as stub:
        stub.GetInfo(pb.GetInfoRequest(), metadata=(("authorization", "Bearer right-token"),))
        for headers in ((), (("authorization", "Bearer wrong-token"),)):
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                stub.GetInfo(pb.GetInfoRequest(), metadata=headers)
    watched.wait_for_end(1, method="penultimate.v1.Extractor/GetInfo", status="OK")
    assert watched.value("unauthenticated_total") == 2


def lines(server: Any, **wanted: str) -> list[dict[str, str]]:
    """The lines of the server's log that have all the pairs that are wanted."""
    every = [
        dict(pair.split("=", 1) for pair in shlex.split(line)) for line in server.log.read_text().splitlines()
    ]
    return [line for line in every if wanted.items() <= line.items()]


def test_a_call_can_be_found_by_its_id(serve: Callable[..., Any], picture: Callable[..., bytes]) -> None:
    """The caller's own, or the server's where that could do harm: in the trailer and in one line."""
    server = serve("--log-level", "debug")
    with calling(server.address) as stub:
        for said in ("from-me:1", 'no "id"', ""):
            _, call = stub.Embed.with_call(
                pb.EmbedRequest(images=[picture(1), b"no picture"]),
                metadata=(("penultimate-request-id", said),),
            )
            given = dict(call.trailing_metadata())["penultimate-request-id"]
            assert (given == said) == (said == "from-me:1")
            (line,) = lines(server, request_id=given)
            assert re.fullmatch(r"\d+\.\d", line.pop("ms"))
            assert re.fullmatch(r"ipv[46]:.*", line.pop("peer"))
            del line["time"], line["cached"]
            assert line == {
                "level": "debug",
                "logger": "extractor.logs",
                "msg": "call ended",
                "request_id": given,
                "method": EMBED,
                "status": "OK",
                "items": "2",
                "failed": "1",
            }


def test_a_lookup_is_logged_with_what_was_remembered(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """As cached, of so many that were asked for."""
    server = serve("--log-level", "debug")
    with calling(server.address) as stub:
        digest = stub.Embed(pb.EmbedRequest(images=[picture(1)])).results[0].digest
        stub.Lookup(pb.LookupRequest(digests=[digest, bytes(32)]))
    (line,) = lines(server, method="penultimate.v1.Extractor/Lookup")
    assert (line["items"], line["cached"], line["failed"]) == ("2", "1", "0")


def test_the_log_can_be_json(serve: Callable[..., Any], picture: Callable[..., bytes]) -> None:
    """Every line of it."""
    server = serve("--log-level", "debug", "--log-format", "json")
    with calling(server.address) as stub:
        stub.Embed(pb.EmbedRequest(images=[picture(1)]))
    assert server.end() == 0
    records = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [record["items"] for record in records if record["msg"] == "call ended"] == [1]
    assert records[-1]["msg"] == "stopped"


def test_a_call_is_traced_from_its_caller_to_the_network(
    collector: list[Any], serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """The collector has its span and its stages when the server has ended."""
    server = serve("--traces")
    parent = "00-" + "1a" * 16 + "-" + "2b" * 8 + "-01"
    with calling(server.address) as stub:
        stub.Embed(
            pb.EmbedRequest(images=[picture(1)]),
            metadata=(("traceparent", parent), ("penultimate-request-id", "traced")),
        )
    assert server.end() == 0
    spans = {
        span.name: span
        for request in collector
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert {"waiting", "decode", "inference", EMBED} <= set(spans)
    assert {span.trace_id.hex() for span in spans.values()} == {"1a" * 16}
    whole = spans[EMBED]
    assert whole.parent_span_id.hex() == "2b" * 8
    assert spans["decode"].parent_span_id == whole.span_id
    assert "traced" in {pair.value.string_value for pair in whole.attributes}
    assert whole.start_time_unix_nano <= spans["decode"].start_time_unix_nano
    assert spans["inference"].end_time_unix_nano <= whole.end_time_unix_nano


def fails(*options: str, script: str = "") -> str:
    """Why a server does not start."""
    script = f"{script}\nfrom extractor.cli import main; main()"
    command = [sys.executable, "-c", script, "serve", "--address", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_metrics_that_others_could_read_need_permission(exported_data: Any) -> None:
    """As the service itself."""
    why = fails("--data", str(exported_data.root), "--metrics-address", "0.0.0.0:0")
    assert "metrics at 0.0.0.0:0 could be read from other machines" in why
    assert "--insecure" in why


def test_traces_name_the_extra_that_is_missing(exported_data: Any) -> None:
    """With the line that installs it."""
    missing = "import sys; sys.modules['opentelemetry'] = None"
    why = fails("--data", str(exported_data.root), "--traces", script=missing)
    assert "--traces needs OpenTelemetry" in why
    assert "pip install '.[tracing]'" in why


def test_the_docs_know_every_metric_and_no_other(watched: Watched, picture: Callable[..., bytes]) -> None:
    """Name, type and labels, as a server exposes them that has done all kinds of work but with heads.

    Whose gauges have no labels before one is asked; `test_heads` reads those.
    """
    with calling(watched.server.address) as stub:
        stub.Embed(pb.EmbedRequest(images=[picture(1), b"no picture"]))
    exposed = {}
    for family in text_string_to_metric_families(watched.text()):
        if not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            exposed[name] = (family.type, labels)
    documented, of_heads = {}, "penultimate_head_"
    for row in re.findall(r"^\| (`(?:penultimate|process)_.*) \|$", DOCS.read_text(), re.MULTILINE):
        names, kind, labels, _ = row.split("|")
        for name in re.findall("`(.*?)`", names):
            labelled = set(re.findall("`(.*?)`", labels))
            assert not name.startswith(of_heads) or labelled == {"head", "version"}
            documented[name] = (kind.strip(), set() if name.startswith(of_heads) else labelled)
    assert documented == exposed


def test_the_examples_use_metrics_that_are_in_the_table() -> None:
    """A rule on a metric that is spelled wrong never fires."""
    text = DOCS.read_text()
    table = set(re.findall(r"`((?:penultimate|process)_\w+)`", text))
    used = set(re.findall(r"\b(?:penultimate|process)_\w+", text))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in used} == table
