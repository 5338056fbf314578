"""No name of a file, however odd, ends a command: it is shown on one line, and the others go on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

ODD, SHOWN = b"a\xff\nb.png", r"a\xff\nb.png"
STRICT = {"PYTHONIOENCODING": "utf-8:strict"}


@pytest.fixture
def odd(pictures: list[Path], tmp_path: Path) -> Path:
    """A folder with a picture and a file that is none, both with odd names, and a good one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    cat = next(file for file in pictures if file.name == "chelsea.png")
    shutil.copy(cat, folder / os.fsdecode(ODD))
    shutil.copy(cat, folder / "two\nlines.png")
    (folder / os.fsdecode(b"bad-" + ODD)).write_bytes(b"")
    return folder


@pytest.mark.parametrize("out", ["o.npz", "o.parquet"])
def test_embed(penultimate, odd: Path, tmp_path: Path, out: str) -> None:
    """The file and the list of failures hold the names on one line each."""
    done = penultimate("embed", "photos", "gone\n.png", "--out", out, **STRICT)
    assert done.returncode == 3, done.stderr
    assert f"failed: photos/bad-{SHOWN}: the file is empty" in done.stderr
    assert r"failed: gone\n.png: no such file: gone\n.png" in done.stderr.splitlines()
    read = np.load if out.endswith("npz") else pq.read_table
    ids = [str(id) for id in read(tmp_path / out)["ids"]]
    assert ids == [f"photos/{SHOWN}", f"photos/bad-{SHOWN}", r"photos/two\nlines.png", r"gone\n.png"]


def test_classify(penultimate, odd: Path) -> None:
    """One line an image; the JSON is whole, too."""
    done = penultimate("classify", "imagenet", "photos", **STRICT)
    assert done.returncode == 3, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        f"photos/{SHOWN}",
        r"photos/two\nlines.png",
    ]
    assert f"failed: photos/bad-{SHOWN}: " in done.stderr
    done = penultimate("classify", "imagenet", "photos", "--json", **STRICT)
    assert os.fsencode(json.loads(done.stdout)[0]["image"]) == b"photos/" + ODD


def test_index_and_search(penultimate, odd: Path, tmp_path: Path) -> None:
    """A name of two lines is one line of the table, and is drawn."""
    done = penultimate("index", "odd", "photos", **STRICT)
    assert done.returncode == 3, done.stderr
    assert f"failed: photos/{SHOWN}: the id " in done.stderr
    odd_name = os.fsencode(odd) + b"/" + ODD
    done = penultimate("search", "odd", odd_name, "--sheet", "s\n.png", **STRICT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].endswith(r"/two\nlines.png")
    assert done.stderr == "wrote s\\n.png\n"
    done = penultimate("search", "odd", b"gone" + ODD, **STRICT)
    assert done.stderr.startswith(f"Error: no such file: gone{SHOWN}, and the collection 'odd' has no item")


def test_fit_head(environment: dict[str, str], tmp_path: Path) -> None:
    """A class is called like its folder: the report has a line for each."""
    for label, colour in ((b"bl\xffue", "blue"), (b"r\ned", "red")):
        folder = tmp_path / "labelled" / os.fsdecode(label)
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40 + number, 40), colour).save(folder / f"{number}.png")
    command = [sys.executable, "-m", "classifiers", str(tmp_path / "labelled"), "--name", "odd"]
    done = subprocess.run(command, env=environment | STRICT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if "100.0 %  100.0 %" in line] == [
        r"bl\xffue",
        r"r\ned",
    ]
