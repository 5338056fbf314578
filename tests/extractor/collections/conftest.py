"""What tests of collections share."""

from pathlib import Path

import pytest

from extractor.settings import DataFolder


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")
