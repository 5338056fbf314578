from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from classifiers import Head, HeadClassifier, HeadManifest, fit_head, load_head, save_head
from classifiers.data.targets import Labelled
from classifiers.distribution.rejection import Rejection
from classifiers.distribution.statistics import Statistics
from classifiers.kinds import KINDS
from classifiers.store.bundle import _checksum
from extractor.errors import DamagedFile, FingerprintMismatch, InvalidArgument, NotFound
from extractor.settings import DataFolder

X = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32) + np.repeat(
    [[0.0], [1], [2]], 10, axis=0
)
Y = np.repeat(["ash", "birch", "kirsebær"], 10)


def head(name: str = "trees", classifier: HeadClassifier | None = None) -> Head:
    manifest = HeadManifest(
        name, "logistic", sorted(set(Y)), "f" * 64, "pixels", 6, metrics={"accuracy": 0.9}
    )
    rows = Labelled.of(X, Y)
    return Head(manifest, (classifier or fit_head(X, Y)).model_, Statistics.of(rows), Rejection.fit(rows))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("scale", ["standardise", "normalise"])
def test_a_head_comes_back_as_it_was(store: DataFolder, kind, scale) -> None:
    fitted = fit_head(X, Y, kind=kind, scale=scale)
    saved = head(classifier=fitted)
    save_head(saved, store)
    loaded = load_head("trees", store)
    assert loaded.manifest == saved.manifest
    assert np.array_equal(loaded.predict_proba(X), saved.predict_proba(X))
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()
    assert loaded.rejection is not None
    assert loaded.rejection.measured == saved.rejection.measured
    assert np.array_equal(loaded.rejection.distances(X), saved.rejection.distances(X))
    for name, array in saved.statistics.arrays().items():
        assert np.array_equal(loaded.statistics.arrays()[name], array)


@pytest.mark.parametrize("file", ["manifest.json", "head.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "half", "empty", "gone"])
def test_damage_is_recognised_and_says_what_to_do(store: DataFolder, file: str, harm: str) -> None:
    damaged = save_head(head(), store).path / file
    data = damaged.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    damaged.write_bytes({"flip": flipped, "half": data[:middle], "empty": b"", "gone": b""}[harm])
    if harm == "gone":
        damaged.unlink()
    with pytest.raises(DamagedFile, match=r"trees/versions/0001 is damaged .*fit-head SOURCE --name trees"):
        load_head("trees", store)


def test_no_byte_of_the_manifest_can_change_unseen(store: DataFolder) -> None:
    file = save_head(head(), store).path / "manifest.json"
    data = file.read_bytes()
    for at in range(0, len(data), 7):
        if chr(data[at]).isalnum():
            file.write_bytes(data[:at] + (b"1" if data[at : at + 1] != b"1" else b"2") + data[at + 1 :])
            with pytest.raises(DamagedFile):
                load_head("trees", store)


def rewrite(path: Path, changed: dict[str, np.ndarray] | None = None, **facts: object) -> None:
    """What somebody writes who knows the checksums."""
    file = path / "head.safetensors"
    stored = safetensors.numpy.save(safetensors.numpy.load(file.read_bytes()) | (changed or {}))
    manifest = json.loads((path / "manifest.json").read_text()) | facts
    del manifest["sha256"]
    manifest["files"] = {"head.safetensors": hashlib.sha256(stored).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest | {"sha256": _checksum(manifest)}))
    file.write_bytes(stored)


@pytest.mark.parametrize(
    "changed",
    [
        fit_head(X[:, :5], Y).model_.arrays(),
        fit_head(X[:20], Y[:20]).model_.arrays(),
        {"weights": np.full((3, 6), np.nan, np.float32)},
        {"statistics.scatter": np.eye(5, dtype=np.float32)},
        {"rejection.noise": np.zeros(1)},
        {"rejection.basis": np.zeros((2, 5), np.float32)},
    ],
    ids=["narrower", "fewer classes", "not finite", "narrower scatter", "no variance", "narrower basis"],
)
def test_what_does_not_fit_its_manifest_is_refused(store: DataFolder, changed) -> None:
    path = save_head(head(), store).path
    rewrite(path, changed)
    with pytest.raises(
        DamagedFile, match=r"trees/versions/0001 is damaged \(it cannot be read: ValueError: "
    ):
        load_head("trees", store)


def test_another_layer_than_the_manifest_says_is_refused(store: DataFolder) -> None:
    path = save_head(head(), store).path
    model = json.loads((path / "manifest.json").read_text())["model"]
    rewrite(path, model=model | {"layer": "two-layer"})
    with pytest.raises(DamagedFile, match="the array hidden is missing"):
        load_head("trees", store)


def test_a_head_that_answers_otherwise_than_when_it_was_written_is_refused(store: DataFolder) -> None:
    """Its weights are of the right form and were changed with their checksum: the canary tells."""
    path = save_head(head(), store).path
    rewrite(path, {"weights": -head().model.arrays()["weights"]})
    with pytest.raises(DamagedFile, match=r"its canary's probabilities are .* from those that were written"):
        load_head("trees", store)


@pytest.mark.parametrize(
    ("found", "advice"), [(3, "install a newer penultimate"), (1, "fit the head again under its name")]
)
def test_another_format_says_what_to_do(store: DataFolder, found: int, advice: str) -> None:
    rewrite(save_head(head(), store).path, format=found)
    with pytest.raises(DamagedFile, match=f"has the format {found}, and this version reads 2: {advice}"):
        load_head("trees", store)


def test_a_head_from_before_versions_asks_to_be_fitted_again(store: DataFolder) -> None:
    (store.heads / "trees").mkdir(parents=True)
    (store.heads / "trees/manifest.json").write_text('{"format": 1}')
    with pytest.raises(DamagedFile, match=r"saved by an earlier penultimate.*fit-head SOURCE --name trees"):
        load_head("trees", store)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "-rf", "x" * 101, "imagenet"])
def test_a_name_that_cannot_be_used_is_refused(store: DataFolder, name: str) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        save_head(head(name), store)
    assert not store.root.exists()


def test_a_head_that_is_not_there_names_those_that_are(store: DataFolder) -> None:
    save_head(head("other"), store)
    with pytest.raises(NotFound, match=r"no head 'trees' .* imagenet, other"):
        load_head("trees", store)


def test_a_head_refuses_another_backbone_and_names_both(pixels) -> None:
    pixels.fingerprint = "e" * 64
    with pytest.raises(FingerprintMismatch, match=r"'trees' .*ffffffffffff.*eeeeeeeeeeee.*'pixels'"):
        head().classify(pixels, [])
