"""Heads on disk: a folder of `manifest.json` and `head.safetensors`, checked to the last byte when read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from classifiers.heads import IMAGENET, Head, HeadManifest, imagenet_head
from classifiers.layers import Model
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.folders import publish_folder, read_folder
from extractor.settings import DEFAULT_BACKBONE, DataFolder, checked_name

FORMAT = 2
ARRAYS = "head.safetensors"


def head_path(name: str, data: DataFolder | None = None) -> Path:
    """Where the head `name` is, or will be.

    Raises
    ------
    InvalidArgument
        When the name cannot be one of a head that is fitted here.
    """
    if checked_name("head", name) == IMAGENET:
        raise InvalidArgument(
            f"the name {IMAGENET!r} is taken by the backbone's own head: choose another name"
        )
    return (data or DataFolder.default()).heads / name


def save_head(head: Head, data: DataFolder | None = None) -> Path:
    """Write `head` under its name, in one step; an earlier head of that name is replaced.

    Returns
    -------
    Path
        The head's folder.

    Raises
    ------
    InvalidArgument
        When the name cannot be used, or the folder cannot be written.
    """
    path = head_path(head.manifest.name, data)
    arrays = safetensors.numpy.save(head.model.arrays())
    facts = {"format": FORMAT, **asdict(head.manifest), "model": _described(head.model)}
    facts["sha256"] = _checksum(facts, arrays)

    def write(folder: Path) -> None:
        (folder / ARRAYS).write_bytes(arrays)
        (folder / "manifest.json").write_text(json.dumps(facts, indent=2) + "\n")

    publish_folder(path, write)
    return path


def load_head(name: str, data: DataFolder | None = None, *, backbone: str = DEFAULT_BACKBONE) -> Head:
    """Read the head `name`.

    Parameters
    ----------
    name : str
        A head that was fitted, or "imagenet".
    data : DataFolder, optional
        By default the one of the command line.
    backbone : str
        Whose classifier the head "imagenet" is.

    Raises
    ------
    NotFound
        When there is no such head.
    DamagedFile
        When it is not what was written.
    """
    data = data or DataFolder.default()
    if name == IMAGENET:
        from extractor.backbones.bundle import Bundle

        return imagenet_head(Bundle.of(data, backbone))
    path = head_path(name, data)
    if not path.is_dir():
        raise NotFound(
            f"there is no head {name!r} in {data.heads}: it has {', '.join([IMAGENET, *head_names(data)])}; "
            f"fit one with `fit-head SOURCE --name {name}`"
        )
    return read_folder(path, _read)


def check_head(name: str, data: DataFolder) -> None:
    """Raise as `load_head` does."""
    read_folder(head_path(name, data), _read)


def head_names(data: DataFolder) -> list[str]:
    """The heads that were fitted, in order."""
    return sorted(folder.name for folder in data.heads.glob("[!.]*") if folder.is_dir())


def _read(path: Path) -> Head:
    """The manifest and the arrays, which belong together."""
    try:
        facts = json.loads((path / "manifest.json").read_text())
        stored = _stored(path, facts)
        _check(path, facts, stored)
        manifest = HeadManifest(**{key: facts[key] for key in HeadManifest.__dataclass_fields__})
        arrays = safetensors.numpy.load(stored)
        model = Model.of(arrays, dim=manifest.dim, classes=len(manifest.classes), **facts["model"])
    except FileNotFoundError as error:
        raise _damaged(path, f"{Path(error.filename).name} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise _damaged(path, f"it cannot be read: {type(error).__name__}: {error}") from error
    return Head(manifest, model)


def _stored(path: Path, facts: dict[str, Any]) -> bytes:
    if facts["format"] != FORMAT:
        raise DamagedFile(
            f"{path} has the format {facts['format']}, and this version reads {FORMAT}: "
            "install the version that wrote it, or fit the head again under its name"
        )
    return (path / ARRAYS).read_bytes()


def _check(path: Path, facts: dict[str, Any], stored: bytes) -> None:
    if facts.pop("sha256") != _checksum(facts, stored):
        raise _damaged(path, "its SHA-256 is not the one that was written")


def _described(model: Model) -> dict[str, Any]:
    """What the arrays do not say."""
    return {
        "scaling": model.scaling.name,
        "layer": model.layer.name,
        "temperature": model.temperature,
        "multi_label": model.multi_label,
    }


def _checksum(facts: dict[str, Any], stored: bytes) -> str:
    """Over the manifest as well: a class renamed by hand would be a silent error."""
    manifest = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(manifest + hashlib.sha256(stored).digest()).hexdigest()


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        f"the head {path} is damaged ({reason}): fit it again with `fit-head SOURCE --name {path.name}`"
    )
