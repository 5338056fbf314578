"""The benchmark that compares with the original network takes whatever was exported."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.golden import reference
from extractor.backbones import catalogue
from extractor.backbones.export import export
from extractor.errors import InvalidArgument
from extractor.settings import DEFAULT_BACKBONE, DataFolder

ROOT = Path(__file__).parent.parent.parent
VARIANT = f"{DEFAULT_BACKBONE}@blocks.2-max@96px@flip"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A data folder with a variant of the default backbone."""
    data = DataFolder(tmp_path_factory.mktemp("own"))
    export(VARIANT, data)
    return data


@pytest.mark.slow
def test_a_variant_is_compared_with_the_original_changed_alike(own: DataFolder) -> None:
    """Each provider and precision has its line, and the plain one passes."""
    command = [sys.executable, "-m", "benchmarks.golden", "--data", str(own.root), "--backbone", VARIANT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, named, *lines = done.stdout.splitlines()
    assert named == f"{VARIANT}, 50 pictures"
    (plain,) = (line for line in lines if line.startswith("cpu/fp32"))
    assert plain.endswith("bound 0.9999  ok")


def test_what_is_compared_with_has_the_bundle_s_own_weights(own: DataFolder, tmp_path: Path) -> None:
    """A bundle of a file of the user's needs that file; with it the golden vectors come out again."""
    file = catalogue.find(DEFAULT_BACKBONE).weights.find()
    assert file is not None
    shutil.copyfile(file, tmp_path / "mine.pth")
    bundle, _ = export(VARIANT, own)
    judge = reference(bundle, tmp_path / "mine.pth")
    for one in bundle.golden():
        with Image.open(io.BytesIO(one.image)) as image:
            assert one.cosine(judge(image)) == pytest.approx(1, abs=1e-6)
    write_others(file, tmp_path / "other.pth")
    with pytest.raises(InvalidArgument, match=r"made from other weights than .*other\.pth: name its file"):
        reference(bundle, tmp_path / "other.pth")


def write_others(file: Path, other: Path) -> None:
    """The same network's weights, each twice as large."""
    import torch

    state = torch.load(file, weights_only=True)
    torch.save({name: tensor * 2 for name, tensor in state.items()}, other)
