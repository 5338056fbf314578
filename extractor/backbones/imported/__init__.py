"""From a user's own ONNX file to a bundle, as if we had exported it. Needs onnx, but not torch.

The reference vectors come from the file as it is behind a preprocessing of its
own (`judge`), never from the graph that is made of it (`wrapping`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from extractor.backbones import catalogue
from extractor.backbones.bundle import MODEL, Bundle, Manifest, made_once, publish
from extractor.backbones.imported.graphs import Source, load, output_of
from extractor.backbones.imported.judge import Judge
from extractor.backbones.imported.spec import Spec
from extractor.backbones.imported.trial import write_proved
from extractor.backbones.imported.wrapping import wrapped
from extractor.backbones.proof import MIN_COSINE, write_golden
from extractor.backbones.variant import name_of
from extractor.errors import AlreadyExists, InvalidArgument, NotFound
from extractor.settings import DataFolder, checked_name

_TOOLS = ("onnx", "onnxruntime")


def import_model(
    file: Path,
    spec: Path,
    data: DataFolder,
    *,
    name: str | None = None,
    force: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Bundle, bool]:
    """Make a bundle of an ONNX file in the data folder, unless it is there; says whether it was made now.

    Parameters
    ----------
    file, spec : Path
        The ONNX file, with weights that it keeps elsewhere beside it; and for the other see `Spec`.
    data : DataFolder
    name : str, optional
        What it shall be called; the spec's name when left out.
    force : bool
        Replace the backbone of that name.
    note : callable
        Is told in a few words what is being done.

    Raises
    ------
    AlreadyExists
        Another backbone has that name.
    NotFound, InvalidArgument, DamagedFile
        The file, the spec, the name or the bundle there cannot be used; says why.
    """
    _check_tools()
    facts = Spec.read(spec)
    path = data.backbones / _checked_name(name or facts.name)
    note("reading the network")
    source = load(file)
    judge = Judge(source, facts)
    wanted = _manifest(path.name, facts, source, judge)
    make = partial(publish, wanted, partial(_write, judge, source.model, facts, note), path)
    return made_once(path, partial(_check_same, wanted), lambda: make, force=force)


def _check_tools() -> None:
    if missing := [tool for tool in _TOOLS if importlib.util.find_spec(tool) is None]:
        raise InvalidArgument(
            f"importing needs {' and '.join(missing)}, not installed here: run `pip install onnx`, and "
            "`pip install '.[cpu]'` in penultimate's folder"
        )


def _checked_name(name: str | None) -> str:
    if not name:
        raise InvalidArgument("the backbone has no name: give one with --name, or as `name` in the spec")
    checked_name("backbone", name)
    try:
        catalogue.check(name)
    except NotFound:
        return name
    raise InvalidArgument(f"the catalogue has a backbone {name_of(name)!r}: choose another --name")


def _manifest(name: str, spec: Spec, source: Source, judge: Judge) -> Manifest:
    pooling = "" if spec.pooling == "none" else f":{spec.pooling}"
    return Manifest(
        backbone=name,
        layer=output_of(source.model, spec) + pooling,
        dim=judge.dim,
        preprocessing=spec.preprocessing,
        weights={"source": spec.source, "sha256": source.sha256, "licence": spec.licence},
        min_cosine=MIN_COSINE,
        exporter={"penultimate": version("penultimate"), "onnx": version("onnx")},
    )


def _check_same(wanted: Manifest, there: Bundle) -> None:
    """AlreadyExists unless the bundle that is there was made of the same file and spec."""
    if replace(there.manifest, files={}, exporter=wanted.exporter) != wanted:
        raise AlreadyExists(
            f"there is a backbone {wanted.backbone!r} already, of another file or spec: choose another "
            "--name, or replace it with --force"
        )


def _write(judge: Judge, model: Any, spec: Spec, note: Callable[[str], None], folder: Path) -> None:
    """Write every file of the bundle but the manifest."""
    note("computing the reference vectors of the golden pictures")
    golden = write_golden(folder / "golden", judge.embed)
    note("writing the graph and proving it")
    graphs = wrapped(model, spec, judge.rank, judge.dim)
    write_proved(graphs, golden, spec.preprocessing, folder / MODEL)
