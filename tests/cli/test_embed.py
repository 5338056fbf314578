"""`penultimate embed` as a user runs it."""

import io
import json
import shutil
import time
from pathlib import Path

import lmdb
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
    assert str(file["backbone"]) == "efficientnet_lite0"


def test_a_second_run_remembers(penultimate, photos: Path) -> None:
    """Nothing is computed twice, also under other names and into another kind of file."""
    penultimate("embed", "photos", "--out", "out.npz")
    shutil.copytree(photos, photos.with_name("copy"))
    done = penultimate("embed", "copy", "--out", "out.parquet", "--json")
    summary = json.loads(done.stdout)
    assert (summary["computed"], summary["cached"]) == (0, 6)


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (("--provider", "cuda"), "the provider 'cuda' is not in the installed ONNX Runtime"),
        (("--provider", "cpu", "--precision", "bf16"), "no provider here computes with precision 'bf16'"),
    ],
)
def test_a_processor_that_is_not_here_is_an_error_also_where_all_is_remembered(
    penultimate, photos: Path, named: tuple[str, ...], sentence: str
) -> None:
    """What is named and not really used is never passed over in silence."""
    assert penultimate("embed", "photos", "--out", "o.npz").returncode == 0
    done = penultimate("embed", "photos", "--out", "again.npz", *named)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert sentence in done.stderr
    assert not Path(photos.parent, "again.npz").exists()


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
    """When every image fails, so does the command, and what is at the place of its output stays."""
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "out.npz").write_bytes(b"vectors of a former run")
    done = penultimate("embed", "a.jpg", "--out", "out.npz")
    assert done.returncode == 1
    assert "no file was written" in done.stderr
    assert (tmp_path / "out.npz").read_bytes() == b"vectors of a former run"


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
        (
            ("photos", "--out", "o.npz", "--backbone", "resnet"),
            "there is no backbone 'resnet'; there are efficientnet_lite0",
        ),
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


@pytest.mark.parametrize("name", ["o.npz", "o.parquet"])
def test_a_full_disk_is_said(penultimate, photos: Path, tmp_path: Path, name: str) -> None:
    """The path that was asked for, the system's reason and the way out; no draft is left."""
    penultimate("embed", "photos", "--out", "first.npz")  # so that only the output file must be written
    done = penultimate("embed", "photos", "--out", f"full/{name}", largest=4096)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: cannot write full/{name}: File too large; nothing was changed. "
        "Free some space or make the folder writable, or choose another with --out"
    )
    assert list((tmp_path / "full").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(penultimate, photos: Path, tmp_path: Path) -> None:
    """By the name that the user gave, not by that of a draft."""
    (tmp_path / "closed").mkdir(mode=0o500)
    done = penultimate("embed", "photos", "--out", "closed/o.npz")
    assert done.returncode == 1
    assert "Error: cannot write closed/o.npz: Permission denied; nothing was changed." in done.stderr


def test_images_that_cannot_be_read_fail_alone(penultimate, photos: Path) -> None:
    """A file without permission, and a folder that is called like a picture."""
    (photos / "secret.png").write_bytes(b"x")
    (photos / "secret.png").chmod(0)
    (photos / "folder.jpg").mkdir()
    done = penultimate("embed", "photos", "photos/folder.jpg", "--out", "o.npz", "--json")
    assert done.returncode == 3
    failed = {each["id"]: each["error"] for each in json.loads(done.stdout)["failed"]}
    assert failed.keys() == {"photos/secret.png", "photos/folder.jpg"}
    assert "Permission denied" in failed["photos/secret.png"]
    assert "photos/folder.jpg holds no image" in failed["photos/folder.jpg"]


def test_interrupted_it_goes_on_where_it_stopped(
    penultimate, start_stuck, photos: Path, data: DataFolder, tmp_path: Path
) -> None:
    """`kill -9` in the middle: the next run computes only what was not done."""
    Image.new("RGB", (50, 50), "red").save(photos / "stuck.png")
    job = start_stuck("embed", "photos", "--out", "o.npz")
    while not remembered(data):
        assert job.poll() is None
        time.sleep(0.01)
    job.kill()
    job.wait()
    assert not (tmp_path / "o.npz").exists()
    summary = json.loads(penultimate("embed", "photos", "--out", "o.npz", "--json").stdout)
    assert summary["cached"] > 0
    assert summary["computed"] > 0
    assert summary["cached"] + summary["computed"] == 7


def test_sigterm_leaves_no_draft(start_stuck, photos: Path, tmp_path: Path) -> None:
    """A job that is told to end does so with code 143, and takes its drafts along."""
    Image.new("RGB", (50, 50), "red").save(photos / "stuck.png")
    job = start_stuck("embed", "photos", "--out", "out/o.npz")
    assert len(list((tmp_path / "out").iterdir())) == 1
    job.terminate()
    assert job.wait(60) == 143
    assert list((tmp_path / "out").iterdir()) == []


def remembered(data: DataFolder) -> int:
    """How many vectors the cache has on disk."""
    if not (data.cache / "data.mdb").exists():
        return 0
    with lmdb.open(str(data.cache), readonly=True, lock=False) as cache:
        return int(cache.stat()["entries"])
