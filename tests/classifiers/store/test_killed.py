"""`kill -9` at every step of saving and promoting: the head answers, by the version before or the new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLED_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from classifiers.heads import Head, HeadManifest
from classifiers.layers import Linear, Model, Plain
from classifiers.store.versions import head_names, load_head, promote, save_head, serving_version, versions
from extractor.settings import DataFolder

data, what = DataFolder(Path(sys.argv[1])), sys.argv[2]
weights, bias = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
manifest = HeadManifest("trees", "logistic", ["ash", "birch", "elm"], "f" * 64, "none", 3)
head = Head(manifest, Model(Plain(), Linear(weights, bias)))
files = {"report.html": lambda file: file.write_text("<p>" * 1000)}
if what != "first":
    save_head(head, data, files=files)
if what == "promote":
    save_head(head, data, files=files)

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
    for name in ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink", "open"):
        setattr(os, name, deadly(getattr(os, name)))
    for name in ("write_bytes", "write_text", "replace", "rename", "mkdir", "chmod"):
        setattr(Path, name, deadly(getattr(Path, name)))

step, answered = 0, []
while True:
    child = os.fork()
    if not child:
        kill_at(step)
        promote("trees", 2, data) if what == "promote" else save_head(head, data, files=files, promote=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    there = versions("trees", data)
    for version in there:
        load_head("trees", data, version=version)
        assert (data.heads / f"trees/versions/{version:04}/report.html").stat().st_size == 3000
    assert head_names(data) == (["trees"] if there else [])
    answered.append(serving_version("trees", data) if there else 0)
    assert not there or load_head("trees", data).manifest == manifest
    if not os.WIFSIGNALED(status):
        break
    step += 1
assert os.WEXITSTATUS(status) == 0, status
print(step, *answered)
"""


@pytest.mark.parametrize(("what", "before"), [("first", 0), ("later", 1), ("promote", 1)])
def test_a_head_answers_whole_after_a_kill_at_any_step(tmp_path: Path, what: str, before: int) -> None:
    """Every version that is there is whole, and none that answered before answers again."""
    told = subprocess.run(
        [sys.executable, "-c", KILLED_EVERYWHERE, tmp_path / "data", what], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    steps, *answered = map(int, told.stdout.split())
    assert steps > 4
    assert answered[0] == before
    assert answered[-1] > before
    assert answered == sorted(answered), "an older version came back"
