"""A bundle that decodes otherwise says at `export` and `doctor` how near it comes to the exact vectors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from extractor.backbones import nearness
from extractor.backbones.bundle import Bundle, publish
from extractor.preprocessing import Decode
from extractor.settings import DEFAULT_BACKBONE, DataFolder


def with_profile(usual: Bundle, data: DataFolder, profile: Decode, min_cosine: float) -> str:
    """The name of the default backbone in that profile, made in the data folder."""
    name = f"{DEFAULT_BACKBONE}@{profile}"
    manifest = replace(
        usual.manifest,
        backbone=name,
        preprocessing=replace(usual.manifest.preprocessing, decode=profile),
        min_cosine={**usual.manifest.min_cosine, profile: min_cosine},
    )

    def write(folder: Path) -> None:
        for file in usual.manifest.files:
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(usual.path / file, folder / file)

    publish(manifest, write, data.backbones / name)
    return name


@pytest.mark.parametrize(("min_cosine", "code"), [(nearness.MIN_COSINE, 0), (0.99999, 1)])
def test_doctor_measures_the_fast_profile(
    penultimate, bundle: Bundle, data: DataFolder, min_cosine: float, code: int
) -> None:
    """Beside the bound, which is the manifest's; under it is wrong."""
    name = with_profile(bundle, data, "fast", min_cosine)
    done = penultimate("doctor", "--json", "--backbone", name, "--provider", "cpu")
    assert done.returncode == code, done.stdout
    found = {finding["topic"]: finding for finding in json.loads(done.stdout)}
    line = found["fast profile"]
    assert line["value"].startswith("cosine to the exact profile 0.99")
    assert line["value"].endswith(f"(bound {min_cosine})")
    assert bool(line["wrong"]) == bool(code)
    assert float(found["golden cosine"]["value"].split()[0]) >= 0.9999


def test_the_exact_profile_has_no_line(penultimate) -> None:
    """There is nothing that it could be compared with."""
    done = penultimate("doctor", "--json", "--provider", "cpu")
    assert not any("profile" in finding["topic"] for finding in json.loads(done.stdout))


@pytest.mark.slow
def test_a_backbone_is_exported_in_the_fast_profile(penultimate, bundle: Bundle, data: DataFolder) -> None:
    """Proved by the original network and its exact transform; its nearness is printed beside."""
    done = penultimate("export", "--profile", "fast", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["backbone"] == f"{DEFAULT_BACKBONE}@fast"
    assert report["fingerprint"] != bundle.fingerprint
    assert report["golden_cosine"] >= 0.9999
    assert nearness.MIN_COSINE <= report["profile_cosine"] < 1
    made = Bundle.of(data, report["backbone"])
    assert made.manifest.min_cosine == {**bundle.manifest.min_cosine, "fast": nearness.MIN_COSINE}
    assert made.read("golden/vectors.npy") == bundle.read("golden/vectors.npy")
    assert made.read("model.onnx") == bundle.read("model.onnx")


def test_without_a_gpu_doctor_says_what_a_gpu_bundle_lacks(
    penultimate, bundle: Bundle, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is in use, and the profile is not; the package is hidden, should it be installed.

    To embed is refused at once, not image by image.
    """
    (data.root / "nvidia").mkdir()
    (data.root / "nvidia" / "__init__.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(data.root))
    name = with_profile(bundle, data, "gpu", nearness.MIN_COSINE)
    done = penultimate("doctor", "--json", "--backbone", name, "--provider", "cpu")
    assert done.returncode == 1
    found = {finding["topic"]: finding for finding in json.loads(done.stdout)}
    assert found["gpu profile"]["value"] == "not in use"
    assert "pip install '.[gpu-decode]'" in found["gpu profile"]["wrong"]
    assert not found["golden cosine"]["wrong"]
    done = penultimate("embed", str(bundle.path / "golden"), "--out", "o.npz", "--backbone", name)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: this backbone decodes JPEGs on an NVIDIA GPU by nvImageCodec")
