"""A bundle is whole or it is refused, and it appears in one step."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from extractor.backbones.bundle import USERS_FILE, Bundle, Manifest, exclusive, publish
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.preprocessing import Preprocessing
from extractor.settings import DataFolder

FILES = (
    "manifest.json",
    "model.onnx",
    "golden/one.jpg",
    "golden/two.jpg",
    "golden/vectors.npy",
    "classifier/weights.npy",
    "classifier/bias.npy",
    "classifier/classes.json",
)


def a_manifest(**changes: object) -> Manifest:
    third = (1 / 3, 1 / 3, 1 / 3)
    facts: dict[str, object] = {
        "backbone": "toy",
        "layer": "global_pool",
        "dim": 4,
        "preprocessing": Preprocessing(2, 2, 3, "bicubic", mean=third, std=third),
        "weights": {"source": "nowhere", "sha256": "0", "licence": "CC0-1.0"},
        "min_cosine": {"fp32": 0.9999},
        "exporter": {"penultimate": "0"},
    }
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


def write_toy(folder: Path, model: bytes = b"a model") -> None:
    (folder / "golden").mkdir()
    (folder / "classifier").mkdir()
    (folder / "model.onnx").write_bytes(model)
    (folder / "golden" / "one.jpg").write_bytes(b"picture one")
    (folder / "golden" / "two.jpg").write_bytes(b"picture two")
    np.save(folder / "golden" / "vectors.npy", np.eye(2, 4, dtype=np.float32))
    np.save(folder / "classifier" / "weights.npy", np.ones((3, 4), np.float32))
    np.save(folder / "classifier" / "bias.npy", np.zeros(3, np.float32))
    names = {"classes": ["a", "b", "c"], "synsets": ["n1", "n2", "n3"]}
    (folder / "classifier" / "classes.json").write_text(json.dumps(names))


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return publish(a_manifest(), write_toy, tmp_path / "backbones" / "toy")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def test_what_is_published_is_what_is_opened(toy: Bundle) -> None:
    """Manifest, pictures with their own vectors, and classifier come back as they were written."""
    again = Bundle.open(toy.path)
    assert again == toy
    assert set(again.manifest.files) == set(FILES) - {"manifest.json"}
    assert [(one.name, one.image, one.vector.tolist()) for one in again.golden()] == [
        ("one.jpg", b"picture one", [1, 0, 0, 0]),
        ("two.jpg", b"picture two", [0, 1, 0, 0]),
    ]
    assert again.classifier().weights.shape == (3, 4)
    assert again.classifier().classes == ["a", "b", "c"]
    assert again.manifest.preprocessing.mean == (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_any_damaged_file_is_named(toy: Bundle, name: str, damage: Callable[[Path], None]) -> None:
    """One changed bit, a lost last byte or a lost file: refused, with the file and the way out."""
    if (name, damage) == ("manifest.json", truncate):
        damage = flip  # its last byte is a line feed that says nothing
    damage(toy.path / name)
    with pytest.raises(DamagedFile) as caught:
        Bundle.open(toy.path)
    assert str(toy.path / name) in str(caught.value)
    assert "penultimate import ... --name toy --force" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet_lite0", "export efficientnet_lite0"),
        ("resnet50@320px", "export resnet50 --size 320"),
        ("timm--vit_tiny", "export timm/vit_tiny"),
        ("mine", "import ... --name mine"),
    ],
)
def test_the_way_out_of_damage_is_the_command_that_made_it(tmp_path: Path, name: str, command: str) -> None:
    """What the catalogue knows was exported, and anything else imported."""
    (tmp_path / name).mkdir()
    with pytest.raises(DamagedFile, match=f"`penultimate {command} --force`"):
        Bundle.open(tmp_path / name)


def test_every_byte_of_the_manifest_counts(toy: Bundle) -> None:
    """No single changed bit of the manifest goes unseen, so its facts can be relied on."""
    file = toy.path / "manifest.json"
    good = file.read_bytes()
    for position in range(len(good)):
        file.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(DamagedFile):
            Bundle.open(toy.path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "7", '"x"', '{"sha256": 3}', "[" * 100_000, "\xff", '{"format": 2}']
)
def test_a_manifest_of_anything_else_is_damage(toy: Bundle, text: str) -> None:
    """A foreign file where the manifest should be is refused, whatever it holds."""
    (toy.path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedFile, match=r"manifest\.json"):
        Bundle.open(toy.path)


def test_a_manifest_from_the_future_says_so(toy: Bundle) -> None:
    """Another format version is reported as that."""
    file = toy.path / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(DamagedFile, match="format is 2, and this version reads 1"):
        Bundle.open(toy.path)


def test_a_bundle_without_a_needed_file_is_refused(tmp_path: Path) -> None:
    """A writer that forgot the classifier does not get a bundle that fails later."""

    def write(folder: Path) -> None:
        write_toy(folder)
        (folder / "classifier" / "bias.npy").unlink()

    with pytest.raises(DamagedFile, match=r"classifier/bias\.npy"):
        publish(a_manifest(), write, tmp_path / "toy")


def without_classifier(folder: Path) -> None:
    write_toy(folder)
    shutil.rmtree(folder / "classifier")


@pytest.mark.parametrize(
    ("backbone", "layer", "reason"),
    [
        ("toy", "global_pool", "the backbone toy has no classifier of its own: fit one with `fit-head`"),
        (
            "toy@layer3-avg",
            "layer3:avg",
            "the backbone toy@layer3-avg is cut at layer3:avg, to which its own classifier does not fit: "
            "fit one with `fit-head`, or take the backbone toy",
        ),
    ],
)
def test_a_bundle_without_a_classifier_is_whole(
    tmp_path: Path, backbone: str, layer: str, reason: str
) -> None:
    """It opens; only who asks for the classifier is told why there is none."""
    made = publish(a_manifest(backbone=backbone, layer=layer), without_classifier, tmp_path / backbone)
    assert not made.manifest.has_classifier
    assert Bundle.open(made.path) == made
    with pytest.raises(NotFound) as caught:
        made.classifier()
    assert str(caught.value) == reason


def test_the_head_imagenet_of_a_cut_backbone_is_refused_with_the_reason(tmp_path: Path) -> None:
    """`classify imagenet` says in one sentence that the classifier does not fit."""
    from classifiers.store.versions import load_head

    data = DataFolder(tmp_path)
    name = "toy@layer3-avg"
    publish(a_manifest(backbone=name, layer="layer3:avg"), without_classifier, data.backbones / name)
    with pytest.raises(NotFound, match="is cut at layer3:avg, to which its own classifier does not fit"):
        load_head("imagenet", data, backbone=name)


def test_a_file_of_another_bundle_in_golden_is_ignored(toy: Bundle) -> None:
    """Only the pictures that the manifest vouches for take part in the self-test."""
    (toy.path / "golden" / "aaa.jpg").write_bytes(b"stray")
    assert [one.name for one in Bundle.open(toy.path).golden()] == ["one.jpg", "two.jpg"]


def test_the_fingerprint_follows_what_makes_vectors_comparable(tmp_path: Path) -> None:
    """Model, preprocessing and layer change it; where the weights came from does not."""

    def fingerprint(model: bytes = b"m", **changes: object) -> str:
        return publish(
            a_manifest(**changes), lambda folder: write_toy(folder, model), tmp_path / "b"
        ).fingerprint

    spec = Preprocessing(2, 2, 4, "bicubic", (0, 0, 0), (1, 1, 1))
    first = fingerprint()
    assert first == fingerprint(weights={"source": "elsewhere"}, exporter={"torch": "9"})
    assert (
        len({first, fingerprint(b"other"), fingerprint(layer="last"), fingerprint(preprocessing=spec)}) == 4
    )


def test_a_backbone_that_was_not_exported_says_how_to(tmp_path: Path) -> None:
    """The error is the command to run."""
    with pytest.raises(NotFound, match="penultimate export efficientnet_lite0"):
        Bundle.of(DataFolder(tmp_path), "efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet_lite0@320px@flip", "export efficientnet_lite0 --size 320 --views flip --data"),
        ("efficientnet_lite0@blocks.4-max", "export efficientnet_lite0 --layer blocks.4:max --data"),
    ],
)
def test_a_variant_that_was_not_exported_says_how_to(tmp_path: Path, name: str, command: str) -> None:
    """The options that make just this variant are in the command to run."""
    with pytest.raises(NotFound, match=re.escape(f"`penultimate {command} {tmp_path}`")):
        Bundle.of(DataFolder(tmp_path), name)


def test_a_variant_of_an_unknown_backbone_is_an_unknown_backbone(tmp_path: Path) -> None:
    """The backbones that there are are listed."""
    with pytest.raises(NotFound, match="efficientnet_lite0"):
        Bundle.of(DataFolder(tmp_path), "no_such_network@flip")


def test_a_damaged_variant_says_how_to_make_it_again(tmp_path: Path) -> None:
    """With its own options."""
    made = publish(a_manifest(), write_toy, tmp_path / "timm--toy@layer3-avg+layer4-max@flip")
    flip(made.model)
    command = "penultimate export timm/toy --layer layer3:avg --layer layer4:max --views flip --force"
    with pytest.raises(DamagedFile, match=command):
        Bundle.open(made.path)


def test_a_damaged_bundle_of_the_user_s_weights_is_not_made_of_others(tmp_path: Path) -> None:
    """The way out asks for the file, as long as the manifest can be read."""
    weights = {"source": f"{USERS_FILE}mine.pth", "sha256": "0", "licence": "unknown"}
    made = publish(a_manifest(weights=weights), write_toy, tmp_path / "resnet50")
    assert made.manifest.users_file == "mine.pth"
    flip(made.path / "golden" / "one.jpg")
    with pytest.raises(DamagedFile, match="`penultimate export resnet50 --weights FILE --force`"):
        Bundle.open(made.path)
    flip(made.path / "manifest.json")
    with pytest.raises(DamagedFile, match="`penultimate export resnet50 --force`"):
        Bundle.open(made.path)


def test_a_name_of_timm_is_one_folder(tmp_path: Path) -> None:
    """`timm/NAME` lies in `timm--NAME`, a variant of it beside."""
    data = DataFolder(tmp_path)
    for name, folder in (("timm/toy", "timm--toy"), ("timm/toy@flip", "timm--toy@flip")):
        made = publish(a_manifest(backbone=name), write_toy, data.backbones / folder)
        assert Bundle.of(data, name) == made


@pytest.mark.parametrize(
    "name",
    [
        "../toy",
        "",
        "a/b",
        ".hidden",
        "timm/../toy",
        "timm/",
        "toy@../flip",
        "toy@",
        "../toy@flip",
        "timm/a/b",
    ],
)
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    """A backbone's name is checked before it becomes a path."""
    with pytest.raises(InvalidArgument):
        Bundle.of(DataFolder(tmp_path), name)


def test_a_failed_replacement_changes_nothing(toy: Bundle) -> None:
    """When writing fails the old bundle stays, and nothing is left beside it."""

    def fail(folder: Path) -> None:
        write_toy(folder)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        publish(a_manifest(), fail, toy.path)
    assert Bundle.open(toy.path) == toy
    assert [entry.name for entry in toy.path.parent.iterdir() if entry.is_dir()] == ["toy"]


def test_a_replacement_takes_its_place_whole(toy: Bundle) -> None:
    """Publishing over a damaged bundle gives a good one."""
    flip(toy.path / "model.onnx")
    publish(a_manifest(), lambda folder: write_toy(folder, b"new"), toy.path)
    assert Bundle.open(toy.path).model.read_bytes() == b"new"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error says which folder, and what to do."""
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InvalidArgument, match=r"file/backbones.*--data"),
        exclusive(tmp_path / "file" / "backbones" / "toy"),
    ):
        pytest.fail("entered")


def test_the_draft_of_a_longer_name_is_left_alone(tmp_path: Path) -> None:
    """Who makes `toy` clears away what was left of `toy`, and nothing of `toy-large`."""
    left, others = tmp_path / ".toy-abcdefgh", tmp_path / ".toy-large-abcdefgh"
    left.mkdir()
    others.mkdir()
    with exclusive(tmp_path / "toy"):
        assert (left.exists(), others.exists()) == (False, True)


def test_the_lock_keeps_other_processes_out(tmp_path: Path) -> None:
    """While one process makes a bundle, another one cannot get the same lock; afterwards it can."""
    path = tmp_path / "toy"
    attempt = (
        f"import fcntl; fcntl.flock(open({str(tmp_path / '.toy.lock')!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )

    def refused() -> bool:
        outcome = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=False)
        return "BlockingIOError" in outcome.stderr

    with exclusive(path):
        assert refused()
    assert not refused()
