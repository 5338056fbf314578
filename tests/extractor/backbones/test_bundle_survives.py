"""A bundle under several processes, kill -9 and flipped bytes: a good one, the old one, or a refusal."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extractor.backbones.bundle import Bundle
from extractor.embedder import Embedder
from extractor.errors import DamagedFile, NotFound
from extractor.settings import DataFolder

MAKER = """
import os, sys
from pathlib import Path
import numpy as np
from extractor.backbones.bundle import Bundle, Manifest, exclusive, publish
from extractor.preprocessing import Preprocessing

def write(folder, text):
    (folder / "golden").mkdir()
    (folder / "golden" / "one.jpg").write_bytes(text * 5_000)
    np.save(folder / "golden" / "vectors.npy", np.eye(1, 4, dtype=np.float32))
    (folder / "model.onnx").write_bytes(text * 50_000)
    (folder / "model.onnx.data").write_bytes(text * 100_000)

def make(path, text):
    spec = Preprocessing(2, 2, 3, "bicubic", (0, 0, 0), (1, 1, 1))
    manifest = Manifest("toy", "global_pool", 4, spec, {}, {"fp32": 0.9999}, {"by": text.decode()})
    return publish(manifest, lambda folder: write(folder, text), path)
"""

AGAIN_AND_AGAIN = (
    MAKER
    + """
path, text = Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(3):  # fewer in all than the times that a reader begins again
    with exclusive(path):
        made = make(path, text)
        assert made.read("model.onnx") == text * 50_000
print("made")
"""
)

KILLED_EVERYWHERE = (
    MAKER
    + """
import signal
path = Path(sys.argv[1])

def kill_at(step):
    # each call that can change the disk counts as a step; the process is gone before the one that is named
    left = [step]
    def deadly(function):
        def step_or_die(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return step_or_die
    from extractor import folders
    for name in ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink", "open"):
        setattr(os, name, deadly(getattr(os, name)))
    Path.write_bytes = deadly(Path.write_bytes)
    Path.write_text = deadly(Path.write_text)
    folders._exchange = deadly(folders._exchange)
    folders._put = deadly(folders._put)

step, seen = 0, []
while True:
    child = os.fork()
    if not child:
        kill_at(step)
        with exclusive(path):
            make(path, b"new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    seen.append(Bundle.open(path).manifest.exporter["by"])
    if not os.WIFSIGNALED(status):
        break
    step += 1
assert os.WEXITSTATUS(status) == 0, status
print(step, " ".join(seen))
"""
)


def script(text: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def folders_in(place: Path) -> list[str]:
    return sorted(entry.name for entry in place.iterdir() if entry.is_dir())


def test_many_makers_and_a_reader_see_only_whole_bundles(tmp_path: Path) -> None:
    """Three processes replace one bundle; whoever opens it meanwhile gets all of one of them."""
    path = tmp_path / "toy"
    makers = [script(AGAIN_AND_AGAIN, path, text) for text in ("a", "b", "c")]
    opened = 0
    while any(maker.poll() is None for maker in makers):
        try:
            bundle = Bundle.open(path)
            opened += 1
        except NotFound:
            assert not opened, "a bundle that was there is gone"
            continue
        assert bundle.manifest.exporter["by"] in {"a", "b", "c"}
    outputs = [maker.communicate() for maker in makers]
    assert [out for out, _ in outputs] == ["made\n"] * 3, outputs
    assert opened
    by = Bundle.open(path).manifest.exporter["by"].encode()
    assert Bundle.open(path).read("model.onnx.data") == by * 100_000
    assert folders_in(tmp_path) == ["toy"]


def test_a_maker_killed_at_any_step_leaves_the_old_bundle_or_the_new(tmp_path: Path) -> None:
    """kill -9 before each call that changes the disk, one after the other: never half of a bundle."""
    path = tmp_path / "toy"
    first = script(MAKER + "\nmake(Path(sys.argv[1]), b'old')", path)
    assert first.communicate()[1] == ""
    driver = script(KILLED_EVERYWHERE, path)
    out, errors = driver.communicate()
    assert driver.returncode == 0, errors
    steps, *seen = out.split()
    assert int(steps) > 15
    assert seen == sorted(seen, key=["old", "new"].index), "an older bundle came back"
    assert (seen[0], seen[-1]) == ("old", "new")
    assert seen.count("old") > 10
    assert folders_in(tmp_path) == ["toy"], "what the killed ones left was not removed"


@pytest.fixture(scope="module")
def copy(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default backbone's bundle, to be damaged."""
    place = DataFolder(tmp_path_factory.mktemp("copy")).backbones / bundle.path.name
    return Bundle.open(Path(shutil.copytree(bundle.path, place)))


def flip(file: Path, position: int, bit: int = 0) -> None:
    with file.open("r+b") as stream:
        stream.seek(position)
        (byte,) = stream.read(1)
        stream.seek(position)
        stream.write(bytes([byte ^ 1 << bit]))


def test_a_flipped_byte_in_any_file_is_found(copy: Bundle) -> None:
    """At the beginning, the end and in between of every file of a real bundle."""
    draw = random.Random(0)
    files = [file for file in copy.path.rglob("*") if file.is_file()]
    assert {file.relative_to(copy.path).as_posix() for file in files} == {
        *copy.manifest.files,
        "manifest.json",
    }
    for file in files:
        size = file.stat().st_size
        last = size - 2 if file.name == "manifest.json" else size - 1  # after it is only a line feed
        for position in {0, last, draw.randrange(size - 1), draw.randrange(size - 1)}:
            flip(file, position)
            with pytest.raises(DamagedFile, match=file.name):
                Bundle.open(copy.path)
            flip(file, position)
    Bundle.open(copy.path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_found(copy: Bundle, data: st.DataObject) -> None:
    """Whichever file, byte and bit."""
    name = data.draw(st.sampled_from([*sorted(copy.manifest.files), "manifest.json"]))
    file = copy.path / name
    position = data.draw(st.integers(0, file.stat().st_size - 2))
    bit = data.draw(st.integers(0, 7))
    flip(file, position, bit)
    try:
        with pytest.raises(DamagedFile, match=file.name):
            Bundle.open(copy.path)
    finally:
        flip(file, position, bit)


@pytest.mark.parametrize("name", ["model.onnx", "golden/vectors.npy", "golden/coffee.jpg"])
def test_nothing_is_served_from_a_bundle_that_changed_since_it_was_opened(
    copy: Bundle, bundle: Bundle, name: str
) -> None:
    """The network is loaded when it is first needed, perhaps much later: its files are looked at again."""
    data = DataFolder(copy.path.parent.parent)
    picture = bundle.read("golden/rocket.jpg")
    with Embedder(data=data, provider="cpu") as embedder:
        flip(copy.path / name, 1000)
        try:
            with pytest.raises(DamagedFile, match=Path(name).name):
                embedder.embed([picture])
        finally:
            flip(copy.path / name, 1000)
