"""What tests of every part share: a real exported backbone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from extractor.backbones.bundle import Bundle
from extractor.settings import DEFAULT_BACKBONE, DataFolder


@pytest.fixture(scope="session")
def exported_data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A data folder with the default backbone and nothing else; tests that write make their own."""
    from extractor.backbones.export import export

    data = DataFolder(tmp_path_factory.mktemp("data"))
    export(DEFAULT_BACKBONE, data)
    return data


@pytest.fixture(scope="session")
def bundle(exported_data: DataFolder) -> Bundle:
    """The exported default backbone."""
    return Bundle.of(exported_data, DEFAULT_BACKBONE)


@pytest.fixture
def data(exported_data: DataFolder, tmp_path: Path) -> DataFolder:
    """A data folder of this test alone, with the default backbone."""
    data = DataFolder(tmp_path / "data")
    data.backbones.mkdir(parents=True)
    (data.backbones / DEFAULT_BACKBONE).symlink_to(exported_data.backbones / DEFAULT_BACKBONE)
    return data


@pytest.fixture(scope="session")
def pictures() -> list[Path]:
    """Real pictures of many sizes and modes (scikit-image's)."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return sorted(file for file in folder.iterdir() if file.suffix in {".png", ".jpg", ".gif"})


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a real OpenTelemetry collector is sent; the environment names it."""
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc

    requests: list[Any] = []

    class Collector(otlp_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the contract
            requests.append(request)
            return otlp.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    otlp_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield requests
    server.stop(grace=None).wait()
