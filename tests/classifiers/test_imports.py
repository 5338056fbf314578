"""What loads long is loaded where something is fitted, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifiers.data.features import Features
from classifiers.store.versions import save_head
from classifiers.training.recipes import Recipe
from classifiers.training.train import train
from extractor.settings import DataFolder

ASKING = """
import pathlib, sys
import numpy as np
import classifiers.heads, classifiers.serving, classifiers.service.answers
from extractor.settings import DataFolder

_, head = classifiers.serving.ServedHeads(DataFolder(pathlib.Path(sys.argv[1]))).serving("two")
found = head.judge(np.eye(4, dtype=np.float32) * 9)
print(len(found), *sorted(name for name in sys.modules if name in ("sklearn", "scipy")))
"""


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_a_head_is_loaded_and_asked_without_scikit_learn(tmp_path: Path, kind: str) -> None:
    """`penultimate classify` and the start of a server would wait for it."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = (rng.normal(size=(80, 4)) + 3 * y[:, None]).astype(np.float32)
    names = [str(row) for row in range(80)]
    features = Features(X, y.astype(str), np.array([f"{row:064}" for row in range(80)]), names, "f" * 64, [])
    save_head(
        train("two", features, backbone="none", recipe=Recipe(kind)).head,  # type: ignore[arg-type]
        DataFolder(tmp_path),
    )
    told = subprocess.run(
        [sys.executable, "-c", ASKING, tmp_path], capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == ["4"]
