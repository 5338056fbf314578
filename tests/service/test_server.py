"""The real server as a process: real weights, real signals, real ports."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extractor import errors, server, wire
from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.addresses import Address
from extractor.client import Client
from extractor.embedder import Embedder
from extractor.settings import DataFolder, ServiceLimits

PATIENCE_S = 60


def start_and_fail(*options: str) -> tuple[int, str]:
    """Exit code and standard error of a server that cannot start."""
    command = [sys.executable, "-m", "extractor.cli", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_the_service_gives_the_embedders_vectors(
    server_address: str, exported_data: DataFolder, pictures: list[Path]
) -> None:
    """Real pictures, through the wire and in process: the same vectors and the same errors."""
    with (
        Client(server_address) as client,
        Embedder(data=exported_data, cache=None, precision=client.numerics.split("/")[1]) as embedder,
    ):
        assert (client.fingerprint, client.dim) == (embedder.fingerprint, embedder.dim)
        images = [*pictures, b"no picture", "nowhere.jpg"]
        for there, here in zip(client.stream(images), embedder.stream(images), strict=True):
            assert type(there.error) is type(here.error)
            assert str(there.error) == str(here.error)
            assert there.digest == here.digest
            if here.embedding is not None:
                np.testing.assert_allclose(there.embedding, here.embedding, rtol=1e-3, atol=1e-3)


def test_what_was_computed_is_remembered(server_address: str, picture: Callable[..., bytes]) -> None:
    """The second time the vector comes from the cache, and is the same."""
    with Client(server_address) as client:
        (first,), (second,) = client.embed([picture(7001)]), client.embed([picture(7001)])
    assert (first.cached, second.cached) == (False, True)
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_a_remembered_collection_is_not_sent_again(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """Another client gets the same vectors; a torn picture has its error, and a new one is computed."""
    address = serve().address
    images = [*(picture(seed, size=16) for seed in range(60)), b"no picture"]
    with Client(address) as client:
        first = client.embed(images)
        assert client.lookup([result.digest for result in first[:3]])[0] is not None
        assert client.lookup([bytes(32)]) == [None]
    with Client(address) as client:
        again = client.embed([*images, picture(1000)])
    assert [result.cached for result in again] == [True] * 60 + [False, False]
    for before, after in zip(first, again, strict=False):
        assert (before.digest, str(before.error)) == (after.digest, str(after.error))
        np.testing.assert_array_equal(before.embedding, after.embedding)
    assert again[-1].ok


@settings(max_examples=50, deadline=None)
@given(images=st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_get_one_result_each(server_address: str, images: list[bytes]) -> None:
    """What is no picture is its own error and never the server's fault."""
    with Client(server_address) as client:
        results = client.embed(images)
    assert len(results) == len(images)
    assert all(isinstance(result.error, errors.InvalidImage) for result in results)


@settings(max_examples=50, deadline=None)
@given(message=st.binary(max_size=300))
def test_any_message_leaves_the_server_well(server_address: str, message: bytes) -> None:
    """Bytes that are no message are the caller's mistake, and the next call is answered."""
    with grpc.insecure_channel(server_address) as channel:
        call = channel.unary_unary("/penultimate.v1.Extractor/Embed").future(message, timeout=PATIENCE_S)
        # Some bytes happen to be a message: with no images, or for another backbone.
        assert call.code() in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.OK,
            grpc.StatusCode.FAILED_PRECONDITION,
        )
        assert ExtractorStub(channel).GetInfo(pb.GetInfoRequest()).dim


def test_health_and_reflection_answer(server_address: str) -> None:
    """So that probes and tools like grpcurl work unchanged."""
    with grpc.insecure_channel(server_address) as channel:
        for service in ("", server.SERVICE):
            reply = HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        names = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert {server.SERVICE, "grpc.health.v1.Health"} <= set(names)
        file = ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(server.SERVICE)
        assert [method.name for method in file.service[0].method] == [
            "Embed",
            "EmbedStream",
            "Lookup",
            "GetInfo",
        ]


def test_a_client_that_leaves_harms_nobody(server_address: str, picture: Callable[..., bytes]) -> None:
    """Calls dropped half-way, and then a good one is answered."""
    with grpc.insecure_channel(server_address) as channel:
        images = [picture(seed) for seed in range(100, 140)]
        calls = [ExtractorStub(channel).Embed.future(pb.EmbedRequest(images=images)) for _ in range(5)]
        for call in calls:
            call.cancel()
    with Client(server_address) as client:
        assert client.embed([picture(99)])[0].ok


def test_the_ready_line_says_what_is_served(serve: Callable[..., Any]) -> None:
    """One line with address, backbone, fingerprint and numerics; after it, the server answers."""
    running = serve()
    facts = dict(word.split("=") for word in running.line.split()[3:])
    with Client(running.address) as client:
        info = client.info()
    assert facts == {"backbone": info.backbone, "fingerprint": info.fingerprint, "numerics": info.numerics}
    assert running.end() == 0
    assert running.process.stdout.closed


def test_without_cache_nothing_is_remembered(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """`--no-cache` computes every time and writes nothing."""
    running = serve("--no-cache")
    with Client(running.address) as client:
        assert not any(client.embed([picture(1)])[0].cached for _ in range(2))


def test_a_port_in_use_is_one_clear_sentence(server_address: str, exported_data: DataFolder) -> None:
    """The second server ends with 1 and the first goes on: a port is never shared silently."""
    code, text = start_and_fail("--address", server_address, "--data", str(exported_data.root))
    assert code == 1
    assert text.splitlines()[-1].startswith(
        f"Error: cannot listen on {server_address}: address already in use"
    )
    assert "Traceback" not in text
    with Client(server_address) as client:
        assert client.info().dim


def test_a_port_in_use_is_seen_under_every_name(server_address: str, exported_data: DataFolder) -> None:
    """A name stands for several addresses: one that is taken is enough to say so."""
    address = server_address.replace("127.0.0.1", "localhost")
    code, text = start_and_fail("--address", address, "--data", str(exported_data.root))
    assert code == 1
    assert text.splitlines()[-1].startswith(f"Error: cannot listen on {address}: address already in use")


def test_a_name_that_nobody_knows_is_one_clear_sentence(exported_data: DataFolder) -> None:
    """With the name in it."""
    options = ("--insecure", "--data", str(exported_data.root))
    code, text = start_and_fail("--address", "no-such-host.invalid:0", *options)
    assert code == 1
    assert "cannot listen on no-such-host.invalid:0" in text.splitlines()[-1]
    assert "Traceback" not in text


def test_localhost_answers_by_name_and_by_number(serve: Callable[..., Any]) -> None:
    """All addresses of a name have one port."""
    running = serve(address="localhost:0")
    for address in (running.address, running.address.replace("localhost", "127.0.0.1")):
        with Client(address) as client:
            assert client.info().dim


def test_memory_is_bounded_whatever_arrives_at_once(serve: Callable[..., Any]) -> None:
    """Sixty calls of 27 MB: some are answered, the others are told when to try again."""
    running = serve("--no-cache")
    status = Path(f"/proc/{running.process.pid}/status")
    stream = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(stream, "BMP")
    picture = stream.getvalue()
    before = peak_mb(status)
    with grpc.insecure_channel(running.address, options=wire.MESSAGE_LIMITS) as channel:
        embed = ExtractorStub(channel).Embed
        requests = [pb.EmbedRequest(images=[picture[:-1] + bytes([number])]) for number in range(60)]
        calls = [embed.future(request, timeout=PATIENCE_S) for request in requests]
        codes = [call.code() for call in calls]
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert grpc.StatusCode.OK in codes
        refused = [call for call in calls if call.code() is not grpc.StatusCode.OK]
        assert all("grpc-retry-pushback-ms" in dict(call.trailing_metadata()) for call in refused)
    # Sixteen at once, since these callers do not say how much they send, and each is there twice while
    # gRPC joins its parts: 900 to 1,500. It took 2,500 when gRPC received them all.
    assert peak_mb(status) - before < 1700


def peak_mb(status: Path) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:0"])
def test_other_machines_are_kept_out(address: str, exported_data: DataFolder) -> None:
    """An address that is not loopback needs --insecure."""
    code, text = start_and_fail("--address", address, "--data", str(exported_data.root))
    assert code == 1
    assert text.startswith(f"Error: {address} can be reached from other machines")
    assert "--insecure" in text


def test_insecure_opens_the_door(serve: Callable[..., Any]) -> None:
    """With --insecure it listens on every interface."""
    running = serve("--insecure", address="0.0.0.0:0")
    with Client(running.address.replace("0.0.0.0", "127.0.0.1")) as client:
        assert client.info().dim


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:", "127.0.0.1:99999", "a b:1", "::1:50051"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """With the value, and how to write one."""
    with pytest.raises(errors.InvalidArgument, match=r"HOST:PORT"):
        Address.parse(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
def test_loopback_is_recognised(host: str) -> None:
    """IPv4, IPv6 and by name."""
    assert Address(host, 0).is_loopback


def test_a_missing_backbone_is_one_clear_sentence(tmp_path: Path) -> None:
    """It names the command that makes one."""
    code, text = start_and_fail("--data", str(tmp_path), "--address", "127.0.0.1:0")
    assert code == 1
    assert "penultimate export" in text
    assert "Traceback" not in text


def test_sigterm_under_load_answers_what_was_accepted(
    serve: Callable[..., Any], picture: Callable[..., bytes]
) -> None:
    """What is answered is right, what is not is refused and may be sent elsewhere, exit code 0."""
    running = serve("--no-cache")
    with grpc.insecure_channel(running.address) as channel:
        images = [picture(seed, size=16) for seed in range(40)]
        calls = [ExtractorStub(channel).Embed.future(pb.EmbedRequest(images=images)) for _ in range(16)]
        calls[0].result(timeout=PATIENCE_S)
        assert running.end() == 0
        replies = [call.result() for call in calls if call.code() is grpc.StatusCode.OK]
        assert all(
            result.WhichOneof("outcome") == "embedding" for reply in replies for result in reply.results
        )
        assert {call.code() for call in calls} <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert "ERROR" not in running.log.read_text()


class Gated:
    """A server process that has accepted calls which wait for the test to let them go."""

    def __init__(self, calls: int) -> None:
        command = [sys.executable, "-m", "tests.service.gated_server"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self.channel = grpc.insecure_channel(self.process.stdout.readline().strip())
        self.stub = ExtractorStub(self.channel)
        self.calls = [self.stub.Embed.future(pb.EmbedRequest(images=[b"a"])) for _ in range(calls)]
        for _ in self.calls:
            assert self.process.stdout.readline() == "submitted\n"
        self.watched = HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(service=server.SERVICE))
        assert next(self.watched).status == health_pb2.HealthCheckResponse.SERVING

    def stop(self, number: signal.Signals) -> None:
        """Send the signal, and wait until the server has noticed."""
        self.process.send_signal(number)
        assert next(self.watched).status == health_pb2.HealthCheckResponse.NOT_SERVING

    def let_go(self) -> None:
        print(file=self.process.stdin, flush=True)

    def end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self.channel.close()
        self.process.communicate()
        return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_when_what_was_accepted_is_answered(number: signal.Signals) -> None:
    """Watchers see NOT_SERVING first, a new call is refused, every accepted one answered, exit code 0."""
    gated = Gated(calls=5)
    gated.stop(number)
    with pytest.raises(grpc.RpcError) as refused:
        gated.stub.GetInfo(pb.GetInfoRequest())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not any(call.done() for call in gated.calls)
    gated.let_go()
    assert [len(call.result(PATIENCE_S).results) for call in gated.calls] == [1] * 5
    assert gated.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number: signal.Signals) -> None:
    """Whatever is still to be answered; the first one waits, so only the second can have ended it."""
    gated = Gated(calls=1)
    gated.stop(signal.SIGTERM)
    assert not gated.calls[0].done()
    begun = time.monotonic()
    gated.process.send_signal(number)
    assert gated.calls[0].code() is grpc.StatusCode.UNAVAILABLE
    assert gated.end() == -number
    assert time.monotonic() - begun < ServiceLimits().grace / 2


async def test_who_stops_while_it_warms_up_stays_stopped(cold_server: server.Server, stand_in: Any) -> None:
    """The end of the warm-up opens nothing any more, and nobody watches over the network."""
    begun, go_on = threading.Event(), threading.Event()
    stand_in.warm = lambda: begun.set() or go_on.wait(PATIENCE_S)
    warming = asyncio.create_task(cold_server.warm())
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    await cold_server.stop(grace=0)
    go_on.set()
    await warming
    assert cold_server.calls.not_ready == "it is stopping"
    assert not [task for task in asyncio.all_tasks() if "Vigil" in repr(task.get_coro())]


def test_clients_outlive_a_killed_server(serve: Callable[..., Any], picture: Callable[..., bytes]) -> None:
    """kill -9 in the middle of a stream, a new server at the same address: every image is answered."""
    running = serve("--no-cache")
    killed = threading.Event()

    def images() -> Iterator[bytes]:
        for seed in range(400):
            if seed == 200:  # from here on, there is nobody for a while
                assert killed.wait(PATIENCE_S)
            yield picture(seed)

    def restart() -> None:
        running.kill()
        killed.set()
        serve("--no-cache", address=running.address)

    with Client(running.address) as client, ThreadPoolExecutor(1) as pool:
        results = client.stream(images())
        first = next(results)
        restarted = pool.submit(restart)
        assert [result.ok for result in [first, *results]] == [True] * 400
        restarted.result()
