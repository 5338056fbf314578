"""One version of a head on disk: a folder of `manifest.json` and arrays, checked to the last byte when read.

`head.safetensors` is what answers. `tested.safetensors`, where there is one,
is what the figures are of: the same head, fitted without the rows that it was
tested on, so that a later version can be compared with it on rows that
neither has seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.heads import Head, HeadManifest
from classifiers.layers import Model
from extractor.errors import DamagedFile
from extractor.results import Vector

FORMAT = 2
MANIFEST = "manifest.json"
ARRAYS = "head.safetensors"
TESTED = "tested.safetensors"

_CANARY = ("canary.vector", "canary.probabilities")
_AGREEMENT = 1e-4
"""How far a probability of the canary may be from the stored one: other processors round otherwise."""

_MEANINGLESS = (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
_UNREADABLE = (ValueError, safetensors.SafetensorError, *_MEANINGLESS)


def write_head(folder: Path, head: Head, tested: Model | None = None) -> None:
    """Write `head` into an empty folder.

    Parameters
    ----------
    folder : Path
    head : Head
    tested : Model, optional
        What its figures are of, when it is not the head's own model.
    """
    files = {ARRAYS: _packed(head)}
    if tested is not None and tested is not head.model:
        files[TESTED] = safetensors.numpy.save(tested.arrays())
    facts = {
        "format": FORMAT,
        **asdict(head.manifest),
        "model": _described(head.model),
        "tested": _described(tested or head.model),
        "rejection": head.rejection.facts() if head.rejection else {},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "bytes": {name: len(content) for name, content in files.items()},
    }
    facts["sha256"] = _checksum(facts)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_head(folder: Path) -> Head:
    """Read what `write_head` wrote, and ask it of the canary.

    Raises
    ------
    DamagedFile
        When it is anything else, or of a newer version.
    """
    with _understood(folder):
        facts = _facts(folder)
        manifest = HeadManifest(**{key: facts[key] for key in HeadManifest.__dataclass_fields__})
        arrays = _arrays(folder, ARRAYS, facts)
        dim, classes = manifest.dim, len(manifest.classes)
        model = Model.of(arrays, dim=dim, classes=classes, **facts["model"])
        statistics = Statistics.of_arrays(arrays, dim, classes)
        head = Head(manifest, model, statistics, Rejection.of(arrays, facts["rejection"], dim))
        _ask_canary(head, *(arrays[name] for name in _CANARY))
    return head


def read_tested(folder: Path) -> Model:
    """The model that the figures are of: fitted without the rows that it was tested on.

    Raises
    ------
    DamagedFile
        As `read_head`.
    """
    with _understood(folder):
        facts = _facts(folder)
        name = TESTED if TESTED in facts["files"] else ARRAYS
        arrays = _arrays(folder, name, facts)
        return Model.of(arrays, dim=facts["dim"], classes=len(facts["classes"]), **facts["tested"])


def read_facts(folder: Path, *, whole: bool = False) -> dict[str, Any]:
    """The manifest as plain values, its checksum compared; the arrays have to be there, in their size.

    Parameters
    ----------
    folder : Path
    whole : bool
        Compare the checksums of the arrays, too, for which they are read.

    Raises
    ------
    DamagedFile
        As `read_head`.
    """
    with _understood(folder):
        facts = _facts(folder)
        for name in facts["files"]:
            size = (folder / name).stat().st_size
            if size != facts.get("bytes", {}).get(name, size):
                raise _damaged(folder, f"{name} was changed or cut short: it has {size:,} bytes")
            if whole:
                _content(folder, name, facts)
        return facts


def canary_of(head: Head) -> tuple[Vector, Vector]:
    """An embedding, of shape (dim,), and the probabilities that the head gives it, of shape (classes,)."""
    if head.statistics is not None and len(head.statistics.rows):
        vector = head.statistics.rows[0]
    else:
        vector = np.random.default_rng(0).normal(size=head.manifest.dim).astype(np.float32)
    return vector, head.predict_proba(vector[None])[0].astype(np.float32)


def _packed(head: Head) -> bytes:
    arrays: Mapping[str, Any] = {
        **head.model.arrays(),
        **(head.statistics.arrays() if head.statistics else {}),
        **(head.rejection.arrays() if head.rejection else {}),
        **dict(zip(_CANARY, canary_of(head), strict=True)),
    }
    # safetensors writes bytes as they lie, so each array must be in one piece
    stored: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(part) for name, part in arrays.items()}
    )
    return stored


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    found = facts["format"]
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise DamagedFile(
            f"the head {folder} has the format {found}, and this version reads {FORMAT}: "
            + ("install a newer penultimate" if newer else "fit the head again under its name")
        )
    if facts.pop("sha256") != _checksum(facts):
        raise _damaged(folder, f"{MANIFEST} was changed: its SHA-256 is not the one that was written")
    return facts


def _arrays(folder: Path, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    arrays: dict[str, Any] = safetensors.numpy.load(_content(folder, name, facts))
    return arrays


def _content(folder: Path, name: str, facts: dict[str, Any]) -> bytes:
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != facts["files"][name]:
        raise _damaged(
            folder, f"{name} was changed or cut short: its SHA-256 is not the one that was written"
        )
    return content


def _ask_canary(head: Head, vector: Vector, expected: Vector) -> None:
    if vector.shape != (head.manifest.dim,) or expected.shape != (len(head.manifest.classes),):
        raise ValueError("the canary is of another width")
    apart = float(np.abs(head.model.probabilities(vector[None])[0] - expected).max())
    if not apart <= _AGREEMENT:
        raise ValueError(f"its canary's probabilities are {apart:.2g} from those that were written")


def _described(model: Model) -> dict[str, Any]:
    """What the arrays do not say."""
    return {
        "scaling": model.scaling.name,
        "layer": model.layer.name,
        "temperature": model.temperature,
        "multi_label": model.multi_label,
    }


def _checksum(facts: dict[str, Any]) -> str:
    """Over every fact: a class renamed by hand would be a silent error."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _damaged(folder, f"{Path(error.filename).name} is missing") from None
    except _UNREADABLE as error:
        raise _damaged(folder, f"it cannot be read: {type(error).__name__}: {error}") from error


def _damaged(folder: Path, reason: str) -> DamagedFile:
    name = folder.parent.parent.name
    others = ", ".join(
        each.name.lstrip("0") for each in sorted(folder.parent.glob("[0-9]*")) if each != folder
    )
    back = f", or let another version ({others}) answer: `penultimate heads promote {name} --version N`"
    return DamagedFile(
        f"the head {folder} is damaged ({reason}): fit it again with "
        f"`fit-head SOURCE --name {name} --promote`" + (back if others else "")
    )
