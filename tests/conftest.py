"""What tests of every part share: a real exported backbone."""

from __future__ import annotations

from pathlib import Path

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
    data.root.mkdir()
    data.backbones.symlink_to(exported_data.backbones)
    return data


@pytest.fixture(scope="session")
def pictures() -> list[Path]:
    """Real pictures of many sizes and modes (scikit-image's)."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return sorted(file for file in folder.iterdir() if file.suffix in {".png", ".jpg", ".gif"})
