"""The checks for a GPU: without one it says so; with the CPU standing in, every figure is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import figures, serving
from benchmarks.gpu.verdict import failures
from benchmarks.session import Bare, Layer
from extractor import images
from extractor.backbones.providers import Numerics, wanted
from extractor.backbones.runtimes import nvidia_card
from extractor.backbones.schedule import Schedule

ROOT = Path(__file__).parent.parent.parent
CPU = Numerics("cpu", "fp32")


@pytest.mark.skipif(nvidia_card() is not None, reason="a GPU is here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    """Exit code 3, one sentence, and no file of figures."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--data", str(tmp_path), "--json", str(tmp_path / "f")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "nothing was measured: there is no NVIDIA GPU that works here (nvidia-smi names none)"
    ]
    assert not (tmp_path / "f").exists()


@pytest.fixture(scope="module")
def found(bundle, exported_data) -> dict:
    """The figures of the CPU provider, of few runs."""
    figures.EFFORT.update(passes=1, seconds=0.01, budget=1.0)
    return figures.measured(bundle, exported_data, "cpu", largest=2, runs=4)


def test_every_figure_is_there(found: dict) -> None:
    """Who computes, how near, how much memory, how fast."""
    one = found["fp32"]
    assert one["active"]["providers"] == ["CPUExecutionProvider"]
    assert one["golden"]["bound"] < one["golden"]["smallest"] <= one["golden"]["median"]
    assert {row["batch_size"] for row in one["table"]} == {1, 2}
    assert one["memory"]["growth"] > 0
    assert one["pinned"] is False


def test_what_does_not_hold_is_listed(found: dict) -> None:
    """The provider, the cosine, the memory, the service: each in a sentence."""
    good = {**found["fp32"], "memory": {"growth": 1.0}}
    report = {"bundles": {"net": {"fp32": good}}, "service": {"ratio": 0.95}}
    assert list(failures(report, "cpu")) == []
    bad = {
        **good,
        "memory": {"growth": 1.5},
        "golden": {"smallest": float("nan"), "bound": 0.99},
        "table": [],
    }
    report = {"bundles": {"net": {"fp32": bad, "fp16": {"error": "no memory"}}}, "service": {"ratio": 0.5}}
    sentences = list(failures(report, "cuda"))
    assert len(sentences) == 6
    assert sentences[0] == "net, cuda/fp32: it is computed by CPUExecutionProvider"
    assert "net, cuda/fp16: no memory" in sentences


def test_the_service_is_compared_with_the_session(data) -> None:
    """Each image is another file, or many would be computed once."""
    found = serving.served(data, "cpu", 16, rounds=1)
    assert found["numerics"] == "cpu/fp32"
    assert found["ratio"] == found["service_images_per_second"] / found["session_images_per_second"] > 0


def test_the_files_are_distinct_and_readable(bundle) -> None:
    photos = serving.distinct(bundle)
    assert len(set(photos)) == len(photos) == serving.DISTINCT
    spec = bundle.manifest.preprocessing
    assert images.decode(photos[-1], spec).shape == (spec.height, spec.width, 3)


@pytest.mark.parametrize("schedule", [Schedule(1, 2), Schedule(4, 2)])
def test_the_session_is_compared_with_a_bare_loop(bundle, data, schedule: Schedule) -> None:
    """Both give rates; what fails in the layer is raised, not counted as fast."""
    pixels = [images.decode(item.image, bundle.manifest.preprocessing) for item in bundle.golden()]
    bare = Bare(bundle, data, CPU, schedule, pixels)
    assert bare.rate(16) > 0
    layer = Layer(bundle, data, next(wanted("cpu", "fp32")), lambda ready: ready)
    assert layer.rate(pixels, 12) > 0
    with pytest.raises(Exception, match="nvalid"):
        layer.rate([pixels[0][:100]], 2)
    layer.close()
