"""`penultimate embed` as a user runs it."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from extractor.settings import DataFolder


@pytest.fixture
def photos(pictures: list[Path], tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for file in pictures[:5]:
        shutil.copy(file, folder)
    shutil.copy(pictures[6], folder / "deep")
    return folder


def test_a_folder_becomes_a_file(penultimate, photos: Path, tmp_path: Path) -> None:
    """Exit 0, ids as found, unit of float32, nothing on standard output."""
    done = penultimate("embed", "photos", "--out", "out.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "6 images: 6 computed, 0 remembered, 0 failed" in done.stderr
    file = np.load(tmp_path / "out.npz", allow_pickle=False)
    assert file["ids"][-1].startswith("photos/")
    assert file["embeddings"].shape == (6, 1280)
    assert file["embeddings"].dtype == np.float32
    assert file["ok"].all()
    assert len(str(file["fingerprint"])) == 64


def test_a_second_run_remembers(penultimate, photos: Path) -> None:
    """Nothing is computed twice, also under other names and into another kind of file."""
    penultimate("embed", "photos", "--out", "out.npz")
    shutil.copytree(photos, photos.with_name("copy"))
    done = penultimate("embed", "copy", "--out", "out.parquet", "--json")
    summary = json.loads(done.stdout)
    assert (summary["computed"], summary["cached"]) == (0, 6)


def test_bad_images_fail_alone(penultimate, photos: Path, tmp_path: Path) -> None:
    """Exit 3; each is listed with its reason; the good ones are in the file."""
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("I am a text")
    whole = (photos / "coffee.png").read_bytes() if (photos / "coffee.png").exists() else None
    whole = whole or next(photos.glob("*.png")).read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    (photos / "pixel.png").write_bytes(stream.getvalue())
    done = penultimate("embed", "photos", "gone.jpg", "--out", "out.parquet")
    assert done.returncode == 3
    for reason in (
        "photos/empty.jpg: the file is empty (0 bytes)",
        "photos/text.jpg: not a picture",
        "photos/truncated.jpg: the picture is damaged or cut short",
        "photos/pixel.png: the picture has 1 x 1 pixels",
        "gone.jpg: no such file: gone.jpg",
    ):
        assert f"failed: {reason}" in done.stderr
    assert sum(pq.read_table(tmp_path / "out.parquet")["ok"].to_pylist()) == 6


def test_none_embedded_is_exit_1(penultimate, tmp_path: Path) -> None:
    """When every image fails, so does the command."""
    (tmp_path / "a.jpg").write_bytes(b"")
    assert penultimate("embed", "a.jpg", "--out", "out.npz").returncode == 1


def test_a_list_on_standard_input(penultimate, photos: Path, tmp_path: Path) -> None:
    """`-` reads one path a line."""
    paths = "\n".join(str(path) for path in sorted(photos.glob("*.png"))[:2])
    done = penultimate("embed", "-", "--out", "out.npz", input=paths)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npz")["ids"].tolist() == paths.split("\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing-here/*.jpg", "--out", "o.npz"), "Error: nothing matches nothing-here/*.jpg"),
        (("empty", "--out", "o.npz"), "Error: the folder empty holds no image"),
        (("photos", "--out", "o.csv"), "Error: o.csv must end in .npz or .parquet"),
        (
            ("photos", "--out", "o.npz", "--backbone", "../x"),
            "Error: '../x' cannot be the name of a backbone",
        ),
        (("photos", "--out", "o.npz", "--backbone", "resnet"), "run `penultimate export resnet"),
        (("photos", "--out", "o.npz", "--server", "127.0.0.1:1"), "127.0.0.1:1"),
        (("photos", "--out", "o.npz", "--provider", "cuda"), "the provider 'cuda' is not in the installed"),
    ],
)
def test_mistakes_are_one_sentence(penultimate, photos: Path, arguments, sentence: str) -> None:
    """Exit 1, the value and the way out on standard error, no trace, no file."""
    (photos.parent / "empty").mkdir()
    done = penultimate("embed", *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(photos.parent.glob("o.*"))


def test_a_full_disk_is_said(penultimate, photos: Path, tmp_path: Path) -> None:
    """A file that cannot be written: the system's reason, exit 1, no draft left."""
    full = tmp_path / "full"
    full.mkdir()
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "import sys; sys.argv[1:] = ['embed', 'photos', '--out', 'full/o.npz'];"
        "from extractor.cli import main; main()"
    )
    penultimate("embed", "photos", "--out", "first.npz")  # so that only the output file must be written
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PENULTIMATE_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(full.iterdir()) == []


def test_interrupted_it_goes_on_where_it_stopped(
    data: DataFolder, pictures: list[Path], tmp_path: Path
) -> None:
    """`kill -9` in the middle: the next run computes only what was not done."""
    folder = tmp_path / "many"
    folder.mkdir()
    with Image.open(next(file for file in pictures if file.name == "coffee.png")) as image:
        for number in range(600):
            image.crop((number // 30, number % 30, number // 30 + 300, number % 30 + 300)).save(
                folder / f"{number:04}.bmp"
            )
    command = [sys.executable, "-m", "extractor.cli", "embed", str(folder), "--out", str(tmp_path / "o.npz")]
    env = {**os.environ, "PENULTIMATE_DATA": str(data.root)}
    child = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    file = data.cache / "data.mdb"
    while child.poll() is None and (not file.exists() or file.stat().st_size < 400_000):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "o.npz").exists()
    done = subprocess.run([*command, "--json"], env=env, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["cached"] > 0
    assert summary["cached"] + summary["computed"] == 600
