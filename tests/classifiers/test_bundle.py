from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from classifiers import Head, HeadClassifier, HeadManifest, fit_head, load_head, save_head
from classifiers.bundle import _checksum
from classifiers.kinds import KINDS
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
    return Head(manifest, (classifier or fit_head(X, Y)).model_)


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


def test_a_head_of_the_same_name_is_replaced_whole(store: DataFolder) -> None:
    save_head(head(), store)
    save_head(head(classifier=fit_head(-X, Y)), store)
    assert load_head("trees", store).predict(-X).tolist() == fit_head(-X, Y).predict(-X).tolist()
    assert [each.name for each in store.heads.iterdir() if each.is_dir()] == ["trees"]


def test_a_head_is_read_whole_while_it_is_replaced(store: DataFolder, monkeypatch) -> None:
    """Its two files are of one fit, also when another is saved between them."""
    save_head(head(), store)
    read = Path.read_bytes

    def replaced_meanwhile(file: Path) -> bytes:
        monkeypatch.undo()
        save_head(head(classifier=fit_head(-X, Y)), store)
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", replaced_meanwhile)
    assert load_head("trees", store).predict(-X).tolist() == fit_head(-X, Y).predict(-X).tolist()


@pytest.mark.parametrize("file", ["manifest.json", "head.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "half", "empty", "gone"])
def test_damage_is_recognised_and_says_what_to_do(store: DataFolder, file: str, harm: str) -> None:
    damaged = save_head(head(), store) / file
    data = damaged.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    damaged.write_bytes({"flip": flipped, "half": data[:middle], "empty": b"", "gone": b""}[harm])
    if harm == "gone":
        damaged.unlink()
    with pytest.raises(DamagedFile, match=r"trees is damaged .*fit-head SOURCE --name trees"):
        load_head("trees", store)


def test_no_byte_of_the_manifest_can_change_unseen(store: DataFolder) -> None:
    file = save_head(head(), store) / "manifest.json"
    data = file.read_bytes()
    for at in range(0, len(data), 7):
        if chr(data[at]).isalnum():
            file.write_bytes(data[:at] + (b"1" if data[at : at + 1] != b"1" else b"2") + data[at + 1 :])
            with pytest.raises(DamagedFile):
                load_head("trees", store)


def rewrite(path: Path, arrays: dict[str, np.ndarray], **facts: object) -> None:
    """What somebody writes who knows the checksum."""
    stored = safetensors.numpy.save(arrays)
    manifest = json.loads((path / "manifest.json").read_text()) | facts
    del manifest["sha256"]
    (path / "manifest.json").write_text(json.dumps(manifest | {"sha256": _checksum(manifest, stored)}))
    (path / "head.safetensors").write_bytes(stored)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        fit_head(X[:, :5], Y).model_.arrays(),
        fit_head(X[:20], Y[:20]).model_.arrays(),
        fit_head(X, Y, kind="mlp").model_.arrays(),
        {name: array * np.nan for name, array in fit_head(X, Y).model_.arrays().items()},
    ],
    ids=["nothing", "narrower", "fewer classes", "another layer", "not finite"],
)
def test_what_does_not_fit_its_manifest_is_refused(store: DataFolder, arrays) -> None:
    path = save_head(head(), store)
    rewrite(path, arrays)
    with pytest.raises(DamagedFile, match=r"the array \w+|not finite"):
        load_head("trees", store)


def test_a_newer_format_asks_for_a_newer_version(store: DataFolder) -> None:
    rewrite(save_head(head(), store), fit_head(X, Y).model_.arrays(), format=3)
    with pytest.raises(DamagedFile, match="format 3, and this version reads 2"):
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
