"""A bundle that decodes otherwise says at `doctor` how near it comes to the exact vectors."""

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


def with_profile(exported: DataFolder, data: DataFolder, profile: Decode, min_cosine: float) -> str:
    """The name of the default backbone in that profile, made in a folder of backbones of its own."""
    data.backbones.unlink()
    name = f"{DEFAULT_BACKBONE}@{profile}"
    usual = Bundle.of(exported, DEFAULT_BACKBONE)
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
    penultimate, exported_data: DataFolder, data: DataFolder, min_cosine: float, code: int
) -> None:
    """Beside the bound, which is the manifest's; under it is wrong."""
    name = with_profile(exported_data, data, "fast", min_cosine)
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
