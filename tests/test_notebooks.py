"""The notebooks run from top to bottom, and what is stored in them is what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from extractor.settings import DataFolder
from tests.run_notebook import NOTEBOOKS, Json, in_fresh_process

LARGEST = 100_000
"""Bytes of a notebook: pictures in it are small."""

named = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def shown(notebook: Json) -> list[list[str]]:
    """What each code cell shows, text and media, with a # for every figure, since those are a machine's."""
    return [
        [_text(output) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def _text(output: Json) -> str:
    data = output.get("data", {"text/plain": output.get("text")})
    words = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", "".join(data["text/plain"]))
    return " ".join([*sorted(data), *words.split()])


@named
def test_a_notebook_runs_and_shows_what_is_stored_in_it(file: Path, data: DataFolder) -> None:
    """In a fresh process, all warnings errors; `make notebooks` stores anew."""
    assert shown(in_fresh_process(file, data.root)) == shown(json.loads(file.read_text()))


@named
def test_a_notebook_is_as_jupyter_saves_it_and_small(file: Path) -> None:
    notebook = json.loads(file.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert file.stat().st_size < LARGEST


@named
def test_the_links_of_a_notebook_lead_somewhere(file: Path) -> None:
    cells = json.loads(file.read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert all((file.parent / target).exists() for target in targets), targets
