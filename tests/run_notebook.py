"""Runs the code of a notebook in order, as Jupyter would, without Jupyter.

    python -m tests.run_notebook            # `make notebooks`: stores what those in docs/notebooks show
    python -P tests/run_notebook.py FILE    # prints one with what it shows, and changes nothing

Jupyter is thirty packages; what is needed of it here is one rule: the last expression of a cell is shown.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Json = dict[str, Any]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def in_fresh_process(notebook: Path, data: Path) -> Json:
    """A notebook with what it shows when it is run in its own folder; every warning is an error.

    Raises
    ------
    RuntimeError
        When a cell fails, with its trace.
    """
    command = [
        sys.executable,
        "-P",
        "-W",
        "error",
        __file__,
        notebook.name,
    ]  # -P: our folder has `classifiers`, too
    environment = {**os.environ, "PENULTIMATE_DATA": str(data)}
    done = subprocess.run(command, cwd=notebook.parent, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{notebook.name}\n{done.stderr}")
    shown: Json = json.loads(done.stdout)
    return shown


def run(notebook: Json) -> Json:
    """The notebook with what its cells show, run in one namespace."""
    namespace: Json = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = _outputs("".join(cell["source"]), namespace, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(source: str, namespace: Json, count: int) -> list[Json]:
    """What a cell prints, then what its last expression is."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), f"<cell {count}>", "exec"), namespace)
        value = None if last is None else eval(compile(last, f"<cell {count}>", "eval"), namespace)
    outputs: list[Json] = []
    if lines := printed.getvalue().splitlines(keepends=True):
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if value is not None:
        result = {"data": _shown(value), "execution_count": count, "metadata": {}}
        outputs.append({"output_type": "execute_result", **result})
    return outputs


def _shown(value: object) -> Json:
    """A value by media type: its picture where it is one, and its text."""
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
    jpeg = getattr(value, "_repr_jpeg_", lambda: None)()
    picture = {"image/jpeg": base64.b64encode(jpeg).decode()} if jpeg else {}
    return {**picture, "text/plain": text.splitlines(keepends=True)}


def _as_file(notebook: Json) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _store_all() -> None:
    from extractor.backbones.export import export
    from extractor.settings import DEFAULT_BACKBONE, DataFolder

    with TemporaryDirectory() as data:
        export(DEFAULT_BACKBONE, DataFolder(Path(data)))
        for notebook in NOTEBOOKS:
            notebook.write_text(_as_file(in_fresh_process(notebook, Path(data))))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        _store_all()
    else:
        sys.stdout.write(_as_file(run(json.loads(Path(sys.argv[1]).read_text()))))
