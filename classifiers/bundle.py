"""Heads on disk: a folder with `manifest.json` and `head.skops`, checked to the last byte when opened."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from classifiers.heads import IMAGENET, Head, HeadManifest, imagenet_head
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.folders import publish_folder, read_folder
from extractor.settings import DEFAULT_BACKBONE, DataFolder, checked_name

FORMAT = 1
TRUSTED: list[str] = []
"""Types that may be read beyond scikit-learn's estimators and NumPy's arrays, which skops trusts already."""


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
    import skops.io

    path = head_path(head.manifest.name, data)
    pipeline = skops.io.dumps(head.pipeline)
    facts = {"format": FORMAT, **asdict(head.manifest)}
    facts["sha256"] = _checksum(facts, pipeline)

    def write(folder: Path) -> None:
        (folder / "head.skops").write_bytes(pipeline)
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
        When it is not what was written, or holds types that are not trusted.
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
    manifest, stored = read_folder(path, _read)
    return Head(manifest, _pipeline(path, stored, manifest))


def check_head(name: str, data: DataFolder) -> None:
    """Raise as `load_head` does, but for what only building the pipeline would show."""
    read_folder(head_path(name, data), _read)


def head_names(data: DataFolder) -> list[str]:
    """The heads that were fitted, in order."""
    return sorted(folder.name for folder in data.heads.glob("[!.]*") if folder.is_dir())


def _read(path: Path) -> tuple[HeadManifest, bytes]:
    """The manifest and the stored pipeline, which belong together."""
    try:
        facts = json.loads((path / "manifest.json").read_text())
        stored = (path / "head.skops").read_bytes()
        _check(path, facts, stored)
        manifest = HeadManifest(**{key: facts[key] for key in HeadManifest.__dataclass_fields__})
    except FileNotFoundError as error:
        raise _damaged(path, f"{Path(error.filename).name} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"manifest.json cannot be read: {type(error).__name__}: {error}") from error
    return manifest, stored


def _check(path: Path, facts: dict[str, Any], stored: bytes) -> None:
    if facts["format"] != FORMAT:
        raise DamagedFile(
            f"{path} has the format {facts['format']}, and this version reads {FORMAT}: "
            "install the version that wrote it, or fit the head again under its name"
        )
    if facts.pop("sha256") != _checksum(facts, stored):
        raise _damaged(path, "its SHA-256 is not the one that was written")


def _pipeline(path: Path, stored: bytes, manifest: HeadManifest) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with warnings.catch_warnings():
            # Another version of scikit-learn wrote it; `_fits` says whether that matters.
            warnings.simplefilter("ignore")
            pipeline = skops.io.loads(stored, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise _damaged(path, f"it holds types that are not trusted: {error}") from error
    except Exception as error:  # whatever a broken archive makes skops raise
        raise _damaged(path, f"head.skops cannot be read: {type(error).__name__}: {error}") from error
    if not _fits(pipeline, manifest):
        raise _damaged(path, "head.skops is no classifier of the kind that the manifest describes")
    return pipeline


def _fits(pipeline: Any, manifest: HeadManifest) -> bool:
    """Whether it is exactly what `fit` makes; every other estimator is refused."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    if type(pipeline) is not Pipeline or [name for name, _ in pipeline.steps] != ["scale", "classify"]:
        return False
    scaler, classifier = (step for _, step in pipeline.steps)
    return (
        type(scaler) in (StandardScaler, Normalizer)
        and type(classifier) is LogisticRegression
        and classifier.n_features_in_ == manifest.dim
        and [str(each) for each in classifier.classes_] == manifest.classes
    )


def _checksum(facts: dict[str, Any], stored: bytes) -> str:
    """Over the manifest as well: a class renamed by hand would be a silent error."""
    manifest = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(manifest + hashlib.sha256(stored).digest()).hexdigest()


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        f"the head {path} is damaged ({reason}): fit it again with `fit-head SOURCE --name {path.name}`"
    )
