"""A bundle: the folder that holds an exported backbone, checked to the last byte when opened.

```
manifest.json               what it is; written last
model.onnx                  uint8 [n, height, width, 3] in, float32 [n, dim] out
golden/*.jpg, vectors.npy   pictures, and what the original PyTorch model gave for them
classifier/weights.npy      the backbone's own classifier: float32 [classes, dim]
classifier/bias.npy         float32 [classes]
classifier/classes.json     {"classes": [name, ...], "synsets": [WordNet id, ...]}
```
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from extractor.errors import DamagedFile, NotFound
from extractor.results import Vector
from extractor.settings import DataFolder, checked_name

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input.

    `resize_shorter` is the length in pixels of the shorter side after the
    resize; a centre crop of `height` x `width` follows. `mean` and `std` are
    in units of the 0..1 pixel range, and are inside the ONNX graph already.
    """

    height: int
    width: int
    resize_shorter: int
    interpolation: Literal["bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself.

    Attributes
    ----------
    weights : dict of str
        `source`, `sha256` and `licence` of the original weights.
    min_cosine : dict of float
        By precision, the smallest cosine to the golden vectors that may serve.
    exporter : dict of str
        Versions of what made the bundle.
    files : dict of str
        SHA-256 of every other file, by its path in the bundle.
    """

    backbone: str
    layer: str
    dim: int
    preprocessing: Preprocessing
    weights: dict[str, str]
    min_cosine: dict[str, float]
    exporter: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the ONNX bytes, the preprocessing and the layer: which vectors may be compared."""
        facts = [self.files["model.onnx"], asdict(self.preprocessing), self.layer]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        facts = {"format": FORMAT, "fingerprint": self.fingerprint, **asdict(self)}
        return json.dumps(facts, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote; ValueError, KeyError or TypeError when it is something else."""
        facts = json.loads(text)
        if facts.pop("format") != FORMAT:
            raise ValueError("it has another format version")
        fingerprint = facts.pop("fingerprint")
        spec = facts.pop("preprocessing")
        for key in ("mean", "std"):
            spec[key] = tuple(spec[key])
        manifest = cls(preprocessing=Preprocessing(**spec), **facts)
        if manifest.fingerprint != fingerprint:
            raise ValueError("its fingerprint does not follow from its content")
        return manifest


@dataclass(frozen=True, slots=True)
class Golden:
    """One picture of the self-test, encoded, and the vector of the original model."""

    name: str
    image: bytes
    vector: Vector


@dataclass(frozen=True, slots=True)
class Classifier:
    """The linear layer that was cut off: `embedding @ weights.T + bias` are its logits.

    `weights` is float32 [classes, dim], `bias` float32 [classes]; `synsets`
    are WordNet ids.
    """

    weights: Vector
    bias: Vector
    classes: list[str]
    synsets: list[str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An exported backbone on disk, whole and unchanged when it was opened."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Check every file of the bundle at `path`.

        Raises
        ------
        NotFound
            When there is no bundle there.
        DamagedFile
            When a file is missing, changed or half-written; names the file.
        """
        if not path.is_dir():
            raise NotFound(f"no exported backbone at {path}")
        bundle = cls(path, _read_manifest(path / "manifest.json"))
        for name, expected in bundle.manifest.files.items():
            if _sha256(path / name) != expected:
                raise _damaged(path / name, "its SHA-256 is not the one in the manifest")
        return bundle

    @classmethod
    def of(cls, data: DataFolder, backbone: str) -> Bundle:
        """The bundle of `backbone` in the data folder; errors as in `open`."""
        path = data.backbones / checked_name("backbone", backbone)
        if not path.is_dir():
            raise NotFound(
                f"the backbone {backbone!r} has not been exported to {data.root}: "
                f"run `penultimate export {backbone} --data {data.root}`"
            )
        return cls.open(path)

    @property
    def fingerprint(self) -> str:
        """See `Manifest.fingerprint`."""
        return self.manifest.fingerprint

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / "model.onnx"

    def golden(self) -> list[Golden]:
        """The pictures of the self-test with their vectors."""
        folder = self.path / "golden"
        vectors = np.load(folder / "vectors.npy", allow_pickle=False)
        images = sorted(folder.glob("*.jpg"))
        return [
            Golden(image.name, image.read_bytes(), vector)
            for image, vector in zip(images, vectors, strict=True)
        ]

    def classifier(self) -> Classifier:
        """The backbone's own classifier."""
        folder = self.path / "classifier"
        names = json.loads((folder / "classes.json").read_text())
        return Classifier(
            weights=np.load(folder / "weights.npy", allow_pickle=False),
            bias=np.load(folder / "bias.npy", allow_pickle=False),
            classes=names["classes"],
            synsets=names["synsets"],
        )


def publish(manifest: Manifest, write: Callable[[Path], None], path: Path) -> Bundle:
    """Make a bundle at `path` in one step: all of it appears, or nothing changes.

    Parameters
    ----------
    manifest : Manifest
        Complete but for `files`, which is filled in here.
    write : callable
        Is given an empty folder and writes every file but the manifest into it.
    path : Path
        A bundle that is there already is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        write(draft)
        for file in _files(draft):
            manifest.files[file] = _sha256(draft / file)
        (draft / "manifest.json").write_text(manifest.to_json())
        draft.chmod(0o755)
        _sync(draft)
        with _locked(path.parent):
            if path.exists():
                path.rename(draft.with_name(draft.name + "-old"))
            draft.rename(path)
            _sync_folder(path.parent)
    finally:
        for left in (draft, draft.with_name(draft.name + "-old")):
            shutil.rmtree(left, ignore_errors=True)
    return Bundle.open(path)


def _read_manifest(file: Path) -> Manifest:
    try:
        return Manifest.from_json(file.read_text())
    except FileNotFoundError:
        raise _damaged(file, "it is missing, so the bundle was never finished") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from error


def _damaged(file: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        f"{file} is damaged ({reason}): make the bundle again with `penultimate export NAME --force`"
    )


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise _damaged(file, "it is missing") from None


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix()


def _sync(folder: Path) -> None:
    for name in _files(folder):
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
