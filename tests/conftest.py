"""What tests of every part share: a real exported backbone."""

from __future__ import annotations

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
