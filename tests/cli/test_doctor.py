"""`penultimate doctor` says what is in use, and fails when something is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

from extractor.collections import Collection
from extractor.settings import DataFolder, cores


def findings(done) -> dict[str, dict[str, Any]]:
    return {finding["topic"]: finding for finding in json.loads(done.stdout)}


def test_all_is_well(penultimate, bundle) -> None:
    """Versions, providers, numerics, golden cosine, folder and disk; exit 0."""
    done = penultimate("doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = findings(done)
    assert "cpu" in found["providers found"]["value"]
    assert "/" in found["in use"]["value"]
    assert found["provider cpu"]["value"].startswith("installed; fp32 passes (smallest cosine 0.9999")
    for name in ("cuda", "tensorrt"):
        assert found[f"provider {name}"]["value"].startswith("not installed: pip install '.[gpu]'")
    assert "the usual one: `penultimate tune`" in found["schedule"]["value"]
    assert float(found["golden cosine"]["value"].split()[0]) >= 0.99
    assert bundle.fingerprint in found["backbone"]["value"]
    assert "GiB" in found["free disk"]["value"]
    assert not any(finding["wrong"] for finding in found.values())


def test_for_people_it_is_a_list(penultimate) -> None:
    """One line a finding, marked; below it, a table of what was measured."""
    done = penultimate("doctor", "--provider", "cpu")
    assert done.returncode == 0
    findings, table = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert all(line.startswith("✓") for line in findings)
    assert "cpu/fp32" in done.stdout
    assert table[0].split()[:5] == ["provider", "precision", "batch", "parallel", "images/s"]
    chosen = next(line for line in table if line.endswith("<-")).split()
    assert chosen[:4] == ["cpu", "fp32", "1", str(cores())]
    assert len({len(line.removesuffix("<-").rstrip()) for line in table}) == 1


def test_each_precision_that_passes_is_measured(penultimate) -> None:
    """One run at a time, and as many as are taken; with cosines and memory. Nothing is remembered."""
    done = penultimate("doctor", "--json")
    found = findings(done)
    (fp32,) = found["provider cpu"]["measured"]
    assert (fp32["provider"], fp32["precision"], fp32["trouble"]) == ("cpu", "fp32", "")
    assert 0.9999 < fp32["golden_cosine"] <= fp32["golden_median"] <= 1.000001
    assert [row["parallel"] for row in fp32["table"]] == sorted({1, cores()})
    for row in fp32["table"]:
        assert row["images_per_second"] > 0
        assert 0 < row["p50"] <= row["p99"]
        assert row["memory"] > 10e6
    assert found["provider cuda"]["measured"] == []
    assert "the usual one" in found["schedule"]["value"]


def test_without_a_backbone_it_fails_and_says_what_to_do(penultimate, tmp_path: Path) -> None:
    """The way out is beside the finding."""
    done = penultimate("doctor", "--data", str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert "✗ network" in done.stdout
    assert "penultimate export efficientnet_lite0" in done.stdout


def test_a_flipped_byte_is_found(penultimate, data: DataFolder, exported_data: DataFolder) -> None:
    """A damaged bundle is named before it serves."""
    folder = data.backbones / "efficientnet_lite0"
    folder.unlink()
    shutil.copytree(exported_data.backbones / "efficientnet_lite0", folder)
    model = folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    done = penultimate("doctor", "--json")
    assert done.returncode == 1
    assert "model.onnx is damaged" in findings(done)["network"]["wrong"]


def test_what_is_kept_is_checked(penultimate, data: DataFolder) -> None:
    """Collections and heads that are not what was written are named; the others are listed."""
    Collection.create(data, "good", fingerprint="f" * 64, dim=4, backbone="efficientnet_lite0").close()
    (data.collections / "junk").mkdir()
    (data.collections / "junk" / "items.sqlite").write_bytes(b"not a database" * 400)
    version = data.heads / "torn" / "versions" / "0001"
    version.mkdir(parents=True)
    (version / "manifest.json").write_text("{")
    done = penultimate("doctor", "--provider", "cpu", "--json")
    assert done.returncode == 1
    found = findings(done)
    assert found["collections"]["value"] == "good, junk"
    assert "the collection 'junk' is damaged" in found["collections"]["wrong"]
    assert "'good'" not in found["collections"]["wrong"]
    assert "heads/torn/versions/0001 is damaged" in found["heads"]["wrong"]
    assert "fit it again" in found["heads"]["wrong"]


def test_a_provider_that_is_not_there_fails(penultimate) -> None:
    """Asking for CUDA without a GPU build is said, with the extra to install."""
    done = penultimate("doctor", "--provider", "cuda")
    assert done.returncode == 1
    assert "pip install '.[gpu]'" in done.stdout
