"""Real weights and real photos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from classifiers import Dataset, load_head
from classifiers.cli import command as fit_head
from extractor import Embedder
from extractor.backbones.bundle import Bundle
from extractor.cli.classify import command as classify
from extractor.cli.main import run
from extractor.settings import DataFolder

# An extra of its own (`demo`): 90 MB.
elpv_dataset = pytest.importorskip("elpv_dataset")
CELLS = Path(elpv_dataset.__file__).parent / "data"


def cells(file: Path, per_class: int) -> Path:
    """A table of solar cells, mono- or polycrystalline, spread over the whole set."""
    rows = [line.split() for line in (CELLS / "labels.csv").read_text().splitlines()]
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label"])
        for kind in ("mono", "poly"):
            images = [CELLS / row[0] for row in rows if row[2] == kind]
            table.writerows((image, kind) for image in images[:: len(images) // per_class][:per_class])
    return file


def test_solar_cells_from_photos_to_labels(data: DataFolder, tmp_path: Path, capsys) -> None:
    """Mono or poly is learnt from 120 photos almost without error, and the head then says so itself."""
    table = cells(tmp_path / "cells.csv", per_class=60)
    with pytest.raises(SystemExit) as ended:
        run(fit_head, [str(table), "--name", "cells", "--data", str(data.root), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert facts["backbone"] == "efficientnet_lite0"
    assert facts["metrics"]["n"] == 30
    assert facts["metrics"]["accuracy"] >= 0.9

    photos = Dataset.read(table).images[::10]
    with pytest.raises(SystemExit) as ended:
        run(classify, ["cells", *photos, "--data", str(data.root), "--json"])
    answers = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert [answer["label"] for answer in answers] == ["mono"] * 6 + ["poly"] * 6


def test_the_imagenet_head_is_the_layer_that_was_cut_off(data: DataFolder, bundle: Bundle, pictures) -> None:
    layer = bundle.classifier()
    with Embedder(data=data, provider="cpu") as embedder:
        result = embedder.embed([next(file for file in pictures if file.name == "coffee.png")])[0]
    head = load_head("imagenet", data)
    logits = result.embedding @ layer.weights.T + layer.bias
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert np.allclose(head.predict_proba(result.embedding[None])[0], expected, rtol=1e-5, atol=1e-8)
    assert head.manifest.classes == layer.classes


def test_well_known_pictures_are_named_before_any_label_exists(data: DataFolder, pictures, capsys) -> None:
    known = {"coffee.png": {"espresso", "cup"}, "chelsea.png": {"tiger cat", "Egyptian cat", "tabby"}}
    photos = [str(file) for file in pictures if file.name in known]
    with pytest.raises(SystemExit) as ended:
        run(classify, ["imagenet", *photos, "--data", str(data.root), "--json"])
    answers = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert len(answers) == len(known)
    for answer in answers:
        assert answer["label"] in known[Path(answer["image"]).name]
        assert answer["synset"].startswith("n")
        assert answer["probability"] > answer["next"][0]["probability"]
