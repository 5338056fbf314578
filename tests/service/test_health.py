"""Health tells what the network really does: it turns when inference stops, and turns back."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from extractor._pb.penultimate.v1 import penultimate_pb2 as pb
from extractor._pb.penultimate.v1.penultimate_pb2_grpc import ExtractorStub
from extractor.health import Vigil
from extractor.server import SERVICES
from extractor.settings import DataFolder, HealthChecks
from extractor.tickets import Load
from tests.service.conftest import PATIENCE_S, ServerProcess

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
BATCHED = ("--batch-size", "4", "--parallel", "1")
DIRECT = ()


class AilingServer(ServerProcess):
    """See `tests.service.ailing_server`; `watch` gives each change of its health."""

    program = ("-m", "tests.service.ailing_server", "serve")

    def __init__(self, data: DataFolder, folder: Path, *options: str) -> None:
        self._ailment = folder / "ailment"
        self.ail("")
        bounds = ("--provider", "cpu", "--stalled-after", "1", "--probe-after", "1", "--no-cache")
        super().__init__(data, folder / "server.log", *bounds, *options)
        self.channel = grpc.insecure_channel(self.address)
        self._watches = {
            name: HealthStub(self.channel).Watch(HealthCheckRequest(service=name), timeout=PATIENCE_S)
            for name in ("", *SERVICES)
        }

    def ail(self, how: str) -> None:
        draft = self._ailment.with_suffix(".draft")
        draft.write_text(how)
        draft.replace(self._ailment)

    def turns(self, wanted: int) -> bool:
        """Every service's health becomes so, and whoever watches is told."""
        return all(any(reply.status == wanted for reply in watch) for watch in self._watches.values())

    def embed(self, image: bytes) -> grpc.Future:
        request = pb.EmbedRequest(images=[image])
        return ExtractorStub(self.channel).Embed.future(request, timeout=PATIENCE_S)


@pytest.fixture
def ailing(
    data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., AilingServer]]:
    """Starts such a server; ends it."""
    monkeypatch.setenv("AILMENT", str(tmp_path / "ailment"))
    started: list[AilingServer] = []

    def start(*options: str) -> AilingServer:
        started.append(AilingServer(data, tmp_path, *options))
        assert started[-1].turns(SERVING)
        return started[-1]

    yield start
    for server in started:
        server.channel.close()
        if server.process.returncode is None:
            server.kill()


@pytest.mark.parametrize("options", [DIRECT, BATCHED], ids=["direct", "batched"])
def test_a_runtime_that_hangs_is_not_serving_until_it_goes_on(
    ailing, picture: Callable[..., bytes], options: tuple[str, ...]
) -> None:
    """The reason is in the log; what waited meanwhile is answered in the end."""
    server = ailing(*options)
    server.ail("hang")
    waiting = server.embed(picture(1))
    assert server.turns(NOT_SERVING)
    assert "no inference has finished for" in server.log.read_text()
    server.ail("")
    assert server.turns(SERVING)
    assert waiting.result().results[0].embedding


def test_an_idle_runtime_that_hangs_is_found(ailing) -> None:
    """Nobody has to wait for an image first: a golden picture does."""
    server = ailing(*BATCHED)
    server.ail("hang")
    assert server.turns(NOT_SERVING)
    server.ail("")
    assert server.turns(SERVING)


@pytest.mark.parametrize("options", [DIRECT, BATCHED], ids=["direct", "batched"])
def test_a_runtime_that_always_raises_is_not_serving_until_it_works(
    ailing, picture: Callable[..., bytes], options: tuple[str, ...]
) -> None:
    """Its callers get an error for each image meanwhile, and are served again by themselves."""
    server = ailing(*options)
    server.ail("raise")
    assert server.embed(picture(1)).result().results[0].HasField("error")
    assert server.turns(NOT_SERVING)
    assert "a golden picture cannot be embedded: injected" in server.log.read_text()
    server.ail("")
    assert server.turns(SERVING)
    assert server.embed(picture(1)).result().results[0].embedding


def test_a_runtime_that_computes_something_else_is_not_serving(ailing) -> None:
    """The probe compares its vector with the original model's."""
    server = ailing()
    server.ail("wrong")
    assert server.turns(NOT_SERVING)
    assert "gives a golden picture another vector: cosine" in server.log.read_text()


def test_a_thread_that_ended_is_not_serving(ailing, picture: Callable[..., bytes]) -> None:
    """Whatever ended it: nothing takes its place, so this does not pass by itself."""
    server = ailing(*BATCHED)
    server.ail("die")
    server.embed(picture(1))
    assert server.turns(NOT_SERVING)
    assert "a thread that runs the network has ended" in server.log.read_text()


def test_health_checks_do_not_keep_a_server_from_stopping(ailing) -> None:
    """Also while it is watched and has just been probed."""
    server = ailing()
    assert server.end() == 0


@pytest.mark.parametrize("options", [DIRECT, BATCHED], ids=["direct", "batched"])
def test_a_runtime_that_hangs_does_not_keep_a_server_from_stopping(
    ailing, picture: Callable[..., bytes], options: tuple[str, ...]
) -> None:
    """Nothing can end its thread, so the process ends without it soon after the grace; not with 0."""
    server = ailing("--grace", "0.5", *options)
    server.ail("hang")
    server.embed(picture(1))
    assert server.turns(NOT_SERVING)
    assert server.end() == 1
    assert "something hangs, and the process ends without it" in server.log.read_text()


class Patient:
    """An embedder of which the test says how it does, at a time that the test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said = {"oldest": 0.0, "failed": 0, "last_inference": -math.inf, "alive": True}
        self.probes: list[Future[None]] = []
        self.vigil = Vigil(self, HealthChecks(stalled_after=30, probe_after=60), lambda: self.now)

    def load(self) -> Load:
        nothing = dict.fromkeys(Load.__dataclass_fields__, 0)
        return Load(**{**nothing, **self.said})

    def probe(self) -> Future[None]:
        self.probes.append(Future())
        return self.probes[-1]

    def after(self, seconds: float, **said: float) -> str:
        """What is wrong then."""
        self.now += seconds
        self.said.update(said)
        return self.vigil.examine()


def test_a_long_queue_that_moves_is_no_trouble() -> None:
    """The oldest may wait as long as others are finished."""
    patient = Patient()
    assert not patient.after(100, oldest=90, last_inference=199.9)
    assert not patient.probes


def test_work_that_waits_while_nothing_is_finished_is_trouble() -> None:
    """Since the last inference, or since the start."""
    patient = Patient()
    assert not patient.after(29, oldest=29)
    assert "work has waited for 31.0 s" in patient.after(2, oldest=31)
    assert not patient.after(1, oldest=0, last_inference=131.5)


def test_an_image_after_a_long_silence_has_its_time() -> None:
    """Nobody wanted anything meanwhile."""
    patient = Patient()
    assert not patient.after(50, oldest=0.1)
    assert not patient.after(29, oldest=29.1)


def test_a_golden_picture_is_run_when_nothing_else_was() -> None:
    """One at a time; it counts as an inference."""
    patient = Patient()
    patient.after(59)
    assert not patient.probes
    patient.after(2)
    patient.after(10)
    (probe,) = patient.probes
    probe.set_result(None)
    assert not patient.after(1)
    patient.after(59)
    assert len(patient.probes) == 1
    patient.after(2)
    assert len(patient.probes) == 2


def test_a_probe_that_hangs_is_trouble_until_it_ends() -> None:
    """It waits like any other work."""
    patient = Patient()
    patient.after(61)
    assert not patient.after(30)
    assert "work has waited" in patient.after(1)
    patient.probes[0].set_result(None)
    assert not patient.after(1)


def test_a_failed_image_has_the_network_probed_soon() -> None:
    """The image may be to blame: the golden picture tells."""
    patient = Patient()
    patient.after(6, failed=1, last_inference=105)
    (probe,) = patient.probes
    probe.set_result(None)
    assert not patient.after(1)
    patient.after(60, last_inference=166)
    assert len(patient.probes) == 1


def test_a_failed_probe_is_trouble_until_an_inference_goes_well() -> None:
    """It is tried again every few seconds; an image that goes well is as good."""
    patient = Patient()
    patient.after(61)
    patient.probes[0].set_exception(RuntimeError("broken"))
    assert patient.after(1) == "a golden picture cannot be embedded: broken"
    assert patient.after(5) == "a golden picture cannot be embedded: broken"
    assert len(patient.probes) == 2
    patient.probes[1].set_exception(RuntimeError("still broken"))
    assert "still broken" in patient.after(1)
    assert not patient.after(1, last_inference=patient.now + 0.5)


async def test_an_embedder_that_cannot_be_examined_is_not_serving(caplog) -> None:
    """What goes wrong in looking is not taken for health."""
    patient = Patient()
    patient.vigil = Vigil(patient, HealthChecks(stalled_after=0.01, probe_after=60))
    patient.load = lambda: 1 / 0  # type: ignore[method-assign]

    class Told(Exception):
        pass

    async def tell(trouble: str) -> None:
        raise Told(trouble)

    with pytest.raises(Told, match="health cannot be examined: division by zero"):
        await patient.vigil.keep(tell)
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_the_probe_leaves_no_trace(data: DataFolder) -> None:
    """It is no item, and nothing of it is remembered."""
    script = (
        "from extractor import Embedder\n"
        f"with Embedder(data={str(data.root)!r}, provider='cpu') as embedder:\n"
        "    embedder.warm(); embedder.probe().result(); load = embedder.load()\n"
        "    print(load.items, load.computed, load.failed, load.hits, load.misses)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.split() == ["0"] * 5, done.stderr
