"""`penultimate import`, and the other commands with what it made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extractor.backbones.bundle import Bundle
from extractor.settings import DataFolder
from tests.extractor.backbones.own_networks import DIM, network, save, write_spec


def penultimate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "extractor.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A data folder that holds an imported backbone, called "mine", and nothing else."""
    data, file = tmp_path / "data", save(network(), tmp_path)
    done = penultimate("import", file, "--spec", write_spec(tmp_path), "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    bundle = Bundle.of(DataFolder(data), "mine")
    assert report["made"] is True
    assert (report["dim"], report["fingerprint"]) == (DIM, bundle.fingerprint)
    assert report["golden_cosine"] >= 0.9999
    return data


def test_every_command_takes_an_imported_backbone(
    imported: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    """Embedded, indexed, searched and served with."""
    photos = [file for file in pictures if file.name in ("coffee.png", "rocket.jpg", "chelsea.png")]
    where = ("--backbone", "mine", "--data", imported)
    done = penultimate("embed", *photos, "--out", tmp_path / "v.npz", *where)
    assert done.returncode == 0, done.stderr
    vectors = np.load(tmp_path / "v.npz", allow_pickle=False)
    assert vectors["embeddings"].shape == (3, DIM)
    assert str(vectors["fingerprint"]) == Bundle.of(DataFolder(imported), "mine").fingerprint
    assert penultimate("index", "shelf", *photos, *where).returncode == 0
    found = penultimate("search", "shelf", photos[0], "--data", imported)
    assert found.returncode == 0, found.stderr
    assert photos[0].name in found.stdout
    served(imported, photos)


def served(data: Path, photos: list[Path]) -> None:
    from extractor.client import Client

    address = ("--address", "127.0.0.1:0")
    command = [
        sys.executable,
        "-m",
        "extractor.cli",
        "serve",
        "--backbone",
        "mine",
        "--data",
        str(data),
        *address,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            place = server.stdout.readline().split()[2]
            with Client(place) as client:
                assert client.info().backbone == "mine"
                assert [len(result.embedding) for result in client.embed(photos)] == [DIM] * 3
        finally:
            server.terminate()


def test_an_imported_backbone_is_listed_behind_the_catalogue(imported: Path) -> None:
    """With what its manifest says; alone when it is named; as damaged when it is."""
    done = penultimate("backbones", "--data", imported, "--json")
    row = json.loads(done.stdout)[-1]
    assert (row["name"], row["source"], row["dim"], row["licence"]) == ("mine", "imported", DIM, "MIT")
    assert row["exported"] is True
    bundle = Bundle.of(DataFolder(imported), "mine")
    alone = penultimate("backbones", "mine", "--data", imported).stdout.splitlines()
    assert len(alone) == 2
    assert alone[1].startswith("mine ")
    assert alone[1].endswith(bundle.fingerprint[:12])
    bundle.model.write_bytes(b"")
    listed = penultimate("backbones", "--data", imported).stdout.splitlines()
    assert listed[-1].startswith("mine ")
    assert listed[-1].endswith("damaged")


def test_an_import_that_is_refused_is_one_line(tmp_path: Path) -> None:
    """On standard error, exit code 1, and the data folder is not made."""
    file, spec = save(network(), tmp_path), write_spec(tmp_path, size=24)
    done = penultimate("import", file, "--spec", spec, "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert len(lines) == 1
    assert lines[0].startswith("Error: the graph's input 'pictures' has the shape")
    assert not (tmp_path / "data").exists()


def test_a_second_import_says_that_it_was_there(imported: Path, tmp_path: Path) -> None:
    """As text, with the figures of the golden test."""
    done = penultimate(
        "import", tmp_path / "model.onnx", "--spec", tmp_path / "spec.toml", "--data", imported
    )
    assert done.returncode == 0, done.stderr
    assert "mine (was there already)" in done.stdout
    assert "smallest cosine to the original network 1.0000" in done.stdout


def test_importing_needs_neither_torch_nor_a_network(tmp_path: Path) -> None:
    """Torch, torchvision and timm are never loaded."""
    file, spec = save(network(), tmp_path), write_spec(tmp_path)
    script = (
        "import sys; from pathlib import Path; from extractor.backbones.imported import import_model;"
        "from extractor.settings import DataFolder;"
        "import_model(Path(sys.argv[1]), Path(sys.argv[2]), DataFolder(Path(sys.argv[3])));"
        "print(sorted({'torch', 'torchvision', 'timm'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script, str(file), str(spec), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ["export", "mine"],
            "was imported, and is made again by `penultimate import MODEL --spec SPEC --name mine",
        ),
        (["export", "mine", "--views", "flip"], "was imported, and is made again by"),
        (["backbones", "mine", "--layers"], "was imported, and `output` in its spec says which layer is the"),
    ],
)
def test_what_is_for_exported_backbones_says_that_it_is_an_imported_one(
    imported: Path, command: list[str], sentence: str
) -> None:
    """And what to do instead; a name that nobody has is said to be that."""
    done = penultimate(*command, "--data", imported)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: the backbone mine {sentence}")
    assert done.stderr.count("\n") == 1
    command[1] = "yours"
    assert "there is no backbone 'yours'" in penultimate(*command, "--data", imported).stderr


def test_a_folder_is_no_network(tmp_path: Path) -> None:
    """It is there, and is said to be a folder."""
    done = penultimate("import", tmp_path, "--spec", write_spec(tmp_path), "--data", tmp_path / "data")
    assert done.returncode == 1
    assert f"Error: {tmp_path} is a folder: name the file in it" in done.stderr
