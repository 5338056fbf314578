"""The catalogue's facts, and that reading them costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extractor.backbones import catalogue
from extractor.backbones.catalogue import BACKBONES
from extractor.backbones.origins import PackageFile
from extractor.errors import NotFound
from extractor.settings import DEFAULT_BACKBONE, checked_name


@pytest.mark.parametrize(
    ("name", "side", "resize"),
    [
        ("efficientnet_lite0", 224, 256),
        ("efficientnet_lite1", 240, 272),
        ("efficientnet_lite2", 260, 292),
    ],
)
def test_preprocessing_is_the_one_of_the_published_accuracy(name: str, side: int, resize: int) -> None:
    """Input size and resize follow the crop fraction; inputs are (x - 127) / 128."""
    spec = catalogue.find(name).preprocessing
    assert (spec.height, spec.width, spec.resize_shorter, spec.interpolation) == (
        side,
        side,
        resize,
        "bicubic",
    )
    assert [255 * mean for mean in spec.mean] == pytest.approx([127] * 3)
    assert [255 * std for std in spec.std] == pytest.approx([128] * 3)


def test_weights_from_tensorflow_get_tensorflow_padding() -> None:
    """The plain architectures load these weights too, and lose 7 points of accuracy."""
    lite = [backbone for backbone in BACKBONES if backbone.source == "efficientnet-lite"]
    assert [backbone.architecture for backbone in lite] == [f"tf_efficientnet_lite{n}" for n in range(3)]


def test_names_are_unique_safe_and_hold_the_default() -> None:
    """Every name can be a folder's name."""
    names = [backbone.name for backbone in BACKBONES]
    assert len(set(names)) == len(names)
    assert DEFAULT_BACKBONE in names
    folders = [backbone.folder for backbone in BACKBONES]
    assert [checked_name("backbone", folder) for folder in folders] == folders
    assert len({folder.casefold() for folder in folders}) == len(folders)


def test_an_unknown_name_lists_the_known() -> None:
    """A typing error is answered with what there is."""
    with pytest.raises(NotFound, match=r"'resnet'; there are efficientnet_lite0, efficientnet_lite1"):
        catalogue.find("resnet")


def test_weights_are_found_without_importing_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is found in an installed package, whose code is not run; else the answer is None."""
    package = tmp_path / "some_weights_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    weights = PackageFile("some-weights", "1", f"{package.name}/models/w.pth", "", 0, "CC0-1.0")
    assert weights.find() is None
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weights.find() is None
    (package / "models").mkdir()
    (package / "models" / "w.pth").write_bytes(b"w")
    assert weights.find() == package / "models" / "w.pth"


def test_torch_is_imported_by_nothing_but_an_export() -> None:
    """The commands, the catalogue and even the export's module come without torch."""
    code = (
        "import sys, extractor.cli, extractor.cli.backbones, extractor.cli.export, "
        "extractor.backbones.catalogue, extractor.backbones.export\n"
        "extractor.cli.backbones.command.main(['--data', 'nowhere'], standalone_mode=False)\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
