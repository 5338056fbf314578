"""A bundle: the folder that holds an exported backbone, checked to the last byte when opened.

```
manifest.json               what it is; written last
model.onnx                  uint8 [n, height, width, 3] in, float32 [n, dim] out
model.onnx.data             its weights, when one file cannot hold both
golden/*.jpg, vectors.npy   pictures, and what the original PyTorch model gave for them
classifier/weights.npy      the backbone's own classifier: float32 [classes, dim]
classifier/bias.npy         float32 [classes]
classifier/classes.json     {"classes": [name, ...], "synsets": [WordNet id, ...]}
```

There is no `classifier/` where the network has none, or is cut at other layers
than the one before it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from extractor.backbones import catalogue
from extractor.backbones.variant import DEFAULT_LAYER, export_command, folder_of, name_of, split_name
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.folders import publish_folder, read_folder
from extractor.preprocessing import Preprocessing
from extractor.results import Vector
from extractor.settings import DataFolder

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
MODEL_DATA = f"{MODEL}.data"
USERS_FILE = "a file of the user's: "
"""What the source of weights begins with that are not the published ones."""

_NO_VARIANTS = "only exported ones have variants: import it again with another spec and --name"
_DRAFT = "?" * 8
"""What is put behind a name for its draft: a name that begins with another's has drafts of its own."""
_FOLDERS = ("golden", "classifier")
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What a manifest that was changed raises when it is read."""
_NEEDED = frozenset((MODEL, "golden/vectors.npy"))
_CLASSIFIER = frozenset(f"classifier/{name}" for name in ("weights.npy", "bias.npy", "classes.json"))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself.

    Attributes
    ----------
    backbone : str
        What the bundle is called by; with the variant's suffix, where it is one.
    layer : str
        Where the network is cut; see `Variant.layer`.
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
        weights = [self.files[MODEL_DATA]] if MODEL_DATA in self.files else []
        return _text_sha256([self.files[MODEL], self.preprocessing.facts(), self.layer, *weights])

    @property
    def users_file(self) -> str:
        """The name of the user's file that the weights are from; empty when they are the published ones."""
        source = self.weights["source"]
        return source.removeprefix(USERS_FILE) if source.startswith(USERS_FILE) else ""

    @property
    def has_classifier(self) -> bool:
        """Whether the backbone's own classifier is in the bundle."""
        return not _CLASSIFIER.isdisjoint(self.files)

    @property
    def needed(self) -> frozenset[str]:
        """The files without which it is no bundle: a classifier is whole, or is not there at all."""
        return _NEEDED | _CLASSIFIER if self.has_classifier else _NEEDED

    def to_json(self) -> str:
        """The text of `manifest.json`; its own SHA-256 is in it, so that no change goes unseen."""
        preprocessing = self.preprocessing.facts()
        facts = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            **asdict(self),
            "preprocessing": preprocessing,
        }
        return json.dumps({**facts, "sha256": _text_sha256(facts)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote; ValueError, KeyError, TypeError or AttributeError for anything else."""
        facts = json.loads(text)
        sha256 = facts.pop("sha256")
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']!r}, and this version reads {FORMAT}")
        if _text_sha256(facts) != sha256:
            raise ValueError("its SHA-256 is not the one written in it")
        for derived in ("format", "fingerprint"):
            facts.pop(derived)
        spec = facts.pop("preprocessing")
        for key in ("mean", "std"):
            spec[key] = tuple(spec[key])
        manifest = cls(preprocessing=Preprocessing(**spec), **facts)
        if absent := manifest.needed - manifest.files.keys():
            raise ValueError(f"it does not list {', '.join(sorted(absent))}")
        return manifest


@dataclass(frozen=True, slots=True)
class Golden:
    """One picture of the self-test, encoded, and the vector of the original model."""

    name: str
    image: bytes
    vector: Vector

    def cosine(self, found: Vector) -> float:
        """How alike `found` is to the original model's vector; 1 when it has the same direction."""
        x, y = found.astype(np.float64), self.vector.astype(np.float64)
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


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
        return read_folder(path, cls._checked)

    @classmethod
    def _checked(cls, path: Path) -> Bundle:
        if not path.is_dir():
            raise NotFound(f"no exported backbone at {path}")
        bundle = cls(path, _read_manifest(path / MANIFEST))
        for name in bundle.manifest.files:
            bundle.check(name)
        return bundle

    @classmethod
    def of(cls, data: DataFolder, backbone: str) -> Bundle:
        """The bundle in the data folder that is called `backbone`, a variant perhaps; errors as in `open`.

        Raises
        ------
        InvalidArgument
            When nothing can be called so.
        """
        path = data.backbones / folder_of(backbone)
        if not path.is_dir():
            check_exported(data, split_name(backbone)[0], _NO_VARIANTS)
            raise NotFound(
                f"the backbone {backbone!r} has not been exported to {data.root}: "
                f"run `{export_command(backbone)} --data {data.root}`"
            )
        return cls.open(path)

    @property
    def fingerprint(self) -> str:
        """See `Manifest.fingerprint`."""
        return self.manifest.fingerprint

    def read(self, name: str) -> bytes:
        """The content of one of the bundle's files, as the manifest knows it.

        Raises
        ------
        DamagedFile
            When it is missing or another: damaged, or of a bundle that took
            this one's place since it was opened.
        """
        with _found(self.path / name) as file:
            content = file.read_bytes()
        self._compare(name, hashlib.sha256(content).hexdigest())
        return content

    def check(self, name: str) -> None:
        """Raise what `read` raises; takes no memory for it, however large the file is."""
        with _found(self.path / name) as file:
            sha256 = _sha256(file)
        self._compare(name, sha256)

    def _compare(self, name: str, sha256: str) -> None:
        if sha256 != self.manifest.files[name]:
            raise _damaged(self.path / name, "its SHA-256 is not the one in the manifest")

    @property
    def model(self) -> Path:
        """Where the ONNX file is; `read(MODEL)` is its checked content."""
        return self.path / MODEL

    def golden(self) -> list[Golden]:
        """The pictures of the self-test with their vectors."""
        names = [name for name in sorted(self.manifest.files) if name.endswith(".jpg")]
        vectors = self._array("golden/vectors.npy")
        return [
            Golden(Path(name).name, self.read(name), row) for name, row in zip(names, vectors, strict=True)
        ]

    def classifier(self) -> Classifier:
        """The backbone's own classifier; NotFound when the bundle has none."""
        if not self.manifest.has_classifier:
            raise NotFound(self._why_no_classifier())
        names = json.loads(self.read("classifier/classes.json"))
        weights, bias = self._array("classifier/weights.npy"), self._array("classifier/bias.npy")
        return Classifier(weights, bias, names["classes"], names["synsets"])

    def _why_no_classifier(self) -> str:
        name, layer = self.manifest.backbone, self.manifest.layer
        if layer == DEFAULT_LAYER or split_name(name)[0] == name:
            return f"the backbone {name} has no classifier of its own: fit one with `fit-head`"
        return (
            f"the backbone {name} is cut at {layer}, to which its own classifier does not fit: fit one with "
            f"`fit-head`, or take the backbone {split_name(name)[0]}"
        )

    def _array(self, name: str) -> Vector:
        array: Vector = np.load(io.BytesIO(self.read(name)), allow_pickle=False)
        return array


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

    def write_all(draft: Path) -> None:
        write(draft)
        files = {name: _sha256(draft / name) for name in _files(draft)}
        (draft / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8")

    publish_folder(path, write_all)
    return Bundle.open(path)


def check_exported(data: DataFolder, name: str, instead: str) -> None:
    """Raise unless the backbone `name` is one that the export makes.

    Raises
    ------
    InvalidArgument
        When it is an imported one; says what to do `instead`.
    NotFound
        When there is none of that name.
    """
    try:
        catalogue.check(name)
    except NotFound:
        if name not in [folder.name for folder in data.backbones.glob("*/")]:
            raise
        raise InvalidArgument(f"the backbone {name} was imported, and {instead}") from None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Be the only process that makes the bundle at `path`; wait while another does.

    What a maker that was killed left behind is removed: nobody else can be writing it.

    Raises
    ------
    InvalidArgument
        When the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise InvalidArgument(
            f"cannot write to {path.parent} ({error.strerror}): choose another folder with --data"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{path.name}-{_DRAFT}"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def made_once(
    path: Path,
    check: Callable[[Bundle], None],
    prepare: Callable[[], Callable[[], Bundle]],
    *,
    force: bool = False,
) -> tuple[Bundle, bool]:
    """The bundle that is at `path`, else one that is made now, by one process while others wait.

    Parameters
    ----------
    path : Path
    check : callable
        Is given the bundle that is there; raises when it is not the one that is wanted.
    prepare : callable
        Does what may fail before anything is written, and gives what makes the bundle.
    force : bool
        Make it again even when it is there, whole or damaged.

    Returns
    -------
    Bundle
    bool
        Whether it was made now.
    """
    if not force and (there := _there(path, check)):
        return there, False
    make = prepare()
    with exclusive(path):
        if not force and (there := _there(path, check)):  # another process made it meanwhile
            return there, False
        return make(), True


def _there(path: Path, check: Callable[[Bundle], None]) -> Bundle | None:
    try:
        bundle = Bundle.open(path)
    except NotFound:
        return None
    check(bundle)
    return bundle


def _read_manifest(file: Path) -> Manifest:
    try:
        return Manifest.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(file, "it is missing") from None
    except _UNREADABLE as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from error


@contextmanager
def _found(file: Path) -> Iterator[Path]:
    try:
        yield file
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise _damaged(file, "it is missing") from None


def _damaged(file: Path, reason: str) -> DamagedFile:
    folder = next(folder for folder in (file.parent, *file.parents) if folder.name not in _FOLDERS)
    command = _maker(name_of(folder.name)) + _weights_option(folder / MANIFEST)
    return DamagedFile(f"{file} is damaged ({reason}): make the bundle again with `{command} --force`")


def _weights_option(manifest: Path) -> str:
    """What must be said again of a bundle's weights, as far as its manifest can be read."""
    try:
        own = Manifest.from_json(manifest.read_text(encoding="utf-8")).users_file
    except (OSError, *_UNREADABLE):
        return ""
    return " --weights FILE" if own else ""


def _maker(name: str) -> str:
    try:
        catalogue.check(split_name(name)[0])
    except (NotFound, InvalidArgument):  # it is none of ours
        return f"penultimate import ... --name {name}"
    return export_command(name)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text_sha256(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix()
