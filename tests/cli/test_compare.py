"""`penultimate compare-backbones` on pictures whose truth is known: textures, colours, noise."""

from __future__ import annotations

import html
import json
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from extractor import gpu_images, images
from extractor.backbones.bundle import Manifest, publish
from extractor.cli.main import penultimate as group
from extractor.cli.main import run as run_command
from extractor.embedder import Embedder
from extractor.preprocessing import Preprocessing
from extractor.settings import DEFAULT_BACKBONE, DataFolder

COLOURS = "colours + 8x8 pixels"
SIDE = 64
SPEC = Preprocessing(SIDE, SIDE, SIDE, "bilinear", mean=(0, 0, 0), std=(1, 1, 1))

Command = Callable[..., tuple[int, str, str]]


def neighbours_differences() -> bytes:
    """A network that gives what pixels differ by from their neighbours: in plain pictures, noise."""
    steps = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["numbers", "first", "second_last", "axes"], ["left"]),
        helper.make_node("Slice", ["numbers", "second", "last", "axes"], ["right"]),
        helper.make_node("Sub", ["left", "right"], ["differences"]),
        helper.make_node("Flatten", ["differences"], ["embedding"]),
    ]
    ends = {
        "first": (0, 0, 0),
        "second_last": (4, 8, 1),
        "second": (0, 1, 0),
        "last": (4, 9, 1),
        "axes": (1, 2, 3),
    }
    constants = [helper.make_tensor(name, TensorProto.INT64, [3], values) for name, values in ends.items()]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 32])
    graph = helper.make_graph(steps, "noise", [pixels], [embedding], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_noise(folder: Path) -> None:
    """The files of a bundle of that network."""
    model = neighbours_differences()
    (folder / "model.onnx").write_bytes(model)
    (folder / "golden").mkdir()
    golden = folder / "golden/noise.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)).save(golden)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pixels = images.decode(golden.read_bytes(), SPEC)
    np.save(folder / "golden/vectors.npy", session.run(None, {"pixels": pixels[None]})[0])


def publish_noise(data: DataFolder, name: str = "noise", spec: Preprocessing = SPEC, **weights: str) -> None:
    """Put a backbone of that name into the data folder, whose embeddings say nothing of plain pictures."""
    manifest = Manifest(
        backbone=name,
        layer="global_pool",
        dim=32,
        preprocessing=spec,
        weights={"source": "nowhere", "sha256": "0", "licence": "CC0-1.0", **weights},
        min_cosine={"fp32": 0.9999, "bf16": 0.99, "fp16": 0.99},
        exporter={},
    )
    publish(manifest, write_noise, data.backbones / name)


@pytest.fixture
def own(exported_data: DataFolder, tmp_path: Path) -> DataFolder:
    """A data folder to add backbones to, with the default one."""
    data = DataFolder(tmp_path / "own")
    data.backbones.mkdir(parents=True)
    (data.backbones / DEFAULT_BACKBONE).symlink_to(exported_data.backbones / DEFAULT_BACKBONE)
    return data


@pytest.fixture
def compare(own: DataFolder, capsys: pytest.CaptureFixture[str]) -> Command:
    """`compare(*arguments)`: exit code, standard output, standard error."""

    def compare(*arguments: object) -> tuple[int, str, str]:
        fixed = ["--provider", "cpu", "--data", str(own.root)]
        with pytest.raises(SystemExit) as ended:
            run_command(group, ["compare-backbones", *map(str, arguments), *fixed])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return compare


def draw(folder: Path, label: str, colour: tuple[int, int, int], count: int) -> None:
    """Noisy pictures of one colour."""
    (folder / label).mkdir(parents=True)
    rng = np.random.default_rng(sum(colour))
    for number in range(count):
        pixels = np.clip(rng.normal(colour, 25, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / label / f"{number}.png")


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Two classes that differ in nothing but their mean colour."""
    draw(tmp_path / "colours", "red", (150, 110, 110), 12)
    draw(tmp_path / "colours", "blue", (110, 110, 150), 12)
    return tmp_path / "colours"


@pytest.fixture
def textures(tmp_path: Path, pictures: list[Path]) -> Path:
    """Crops of three grey textures, each with a brightness and contrast by lot: colours say little."""
    by_name, rng = {file.name: file for file in pictures}, np.random.default_rng(3)
    for label in ("brick", "grass", "gravel"):
        (tmp_path / "textures" / label).mkdir(parents=True)
        with Image.open(by_name[f"{label}.png"]) as image:
            whole = np.asarray(image, dtype=np.float64)
        for number in range(16):
            top, left = rng.integers(0, 512 - 160, 2)
            part = whole[top : top + 160, left : left + 160]
            part = (part - part.mean()) / part.std() * rng.uniform(15, 50) + rng.uniform(90, 165)
            file = tmp_path / "textures" / label / f"{number}.png"
            Image.fromarray(np.clip(part, 0, 255).astype(np.uint8)).save(file)
    return tmp_path / "textures"


def test_a_trained_network_beats_colours_on_textures_and_noise_does_not(
    compare: Command, own: DataFolder, textures: Path, tmp_path: Path
) -> None:
    """All that are exported are compared; run again, nothing but what is timed is computed."""
    publish_noise(own)
    page = tmp_path / "page.html"
    code, out, err = compare(textures, "--report", page)
    assert code == 0, err
    heading, _, _, best, *rest = out.splitlines()
    assert heading == "logistic regression on 48 pictures of 3 classes: 5 folds, seed 0"
    assert best.startswith(f"* {DEFAULT_BACKBONE} ")
    assert {line[2:22].strip() for line in rest[:3]} == {"noise", COLOURS, "majority class"}
    (said,) = (line for line in rest if "negative transfer" in line)
    assert said.startswith("negative transfer")
    assert ": noise " in said
    assert f"<p>{textures}, " in page.read_text()
    assert html.escape(said) in page.read_text()

    with Embedder(data=own, provider="cpu") as embedder:
        assert all(result.cached for result in embedder.stream(sorted(textures.rglob("*.png"))))
    code, out, _ = compare(textures, "--json")
    best = json.loads(out)["rows"][0]
    assert (code, best["name"], best["negative_transfer"]) == (0, DEFAULT_BACKBONE, False)
    assert best["accuracy"] > 0.9
    assert best["over_baseline"]["interval"][0] > 0
    assert best["images_per_second"] > 0
    assert best["bundle_bytes"] > (own.backbones / DEFAULT_BACKBONE / "model.onnx").stat().st_size
    assert best["dim"] == 1280


@pytest.mark.parametrize("head", ["logistic", "linear-svm"])
def test_where_colour_is_the_class_noise_is_negative_transfer(
    compare: Command, own: DataFolder, colours: Path, head: str
) -> None:
    """The baseline knows every picture, and the figures are said."""
    publish_noise(own)
    code, out, err = compare(colours, "--backbones", "noise", "--head", head, "--json", "--folds", 4)
    assert code == 0, err
    facts = json.loads(out)
    first, *_ = facts["rows"]
    assert (first["name"], first["accuracy"], first["mark"]) == (COLOURS, 1, "best")
    (noise,) = (row for row in facts["rows"] if row["name"] == "noise")
    assert noise["negative_transfer"]
    assert noise["over_baseline"]["interval"][1] < 0
    assert (facts["head"]["kind"], facts["folds"]) == (head, 4)

    _, out, err = compare(colours, "--backbones", "noise", "--head", head, "--folds", 50)
    assert "12 folds are made in place of 50: no class has 50 distinct pictures" in err
    assert f"negative transfer: noise does worse than {COLOURS!r}: " in out


def test_layers_are_the_names_of_variants(compare: Command, own: DataFolder, colours: Path) -> None:
    """As the export calls them; one that is not exported is answered with what makes it."""
    for name in ("noise", "noise@a-avg", "noise@a-avg+b.1-max", f"{DEFAULT_BACKBONE}@a-avg"):
        publish_noise(own, name)
    layers = ("--layers", "global_pool,a,a+b.1:max")
    code, out, err = compare(colours, "--backbones", "noise", *layers, "--json")
    assert code == 0, err
    names = {row["name"] for row in json.loads(out)["rows"]}
    assert names == {"noise", "noise@a-avg", "noise@a-avg+b.1-max", COLOURS, "majority class"}
    for apart in (
        ("--backbones", "noise", "--layers", "global_pool", "--layers", "a"),
        ("--backbones", "noise", "--backbones", "noise@a-avg"),
    ):
        code, out, err = compare(colours, *apart, "--json")
        assert code == 0, err
        assert {row["name"] for row in json.loads(out)["rows"]} == names - {"noise@a-avg+b.1-max"}
    code, _, err = compare(colours, "--layers", "a,blocks.5:gem")
    assert code == 1
    assert f"penultimate export {DEFAULT_BACKBONE} --layer blocks.5:gem" in err


def test_layers_of_networks_with_different_weights_are_not_compared(
    compare: Command, own: DataFolder, colours: Path
) -> None:
    """The manifests tell; one that does not know its weights is taken at its word."""
    publish_noise(own, "noise")
    publish_noise(own, "noise@a-avg", state_sha256="one")
    publish_noise(own, "noise@b-avg", state_sha256="one")
    publish_noise(own, "noise@c-avg", state_sha256="two")
    code, out, err = compare(colours, "--backbones", "noise", "--layers", "global_pool,a,b,c")
    assert (code, out) == (1, "")
    assert err.startswith("Error: noise@c-avg was made of other weights than noise@a-avg, ")
    assert not own.cache.exists()
    code, _, err = compare(colours, "--backbones", "noise", "--layers", "global_pool,a,b")
    assert code == 0, err
    assert compare(colours, "--backbones", "noise@a-avg,noise@c-avg")[0] == 0


def test_a_damaged_backbone_that_nobody_named_is_left_out_and_said(
    compare: Command, own: DataFolder, colours: Path
) -> None:
    """One that was named is an error, and so is a folder where none is whole."""
    for name in ("noise", "broken"):
        publish_noise(own, name)
    (own.backbones / "broken/model.onnx").write_bytes(b"")
    (own.backbones / "notes of mine").mkdir()
    (own.backbones / DEFAULT_BACKBONE).unlink()
    code, out, err = compare(colours, "--json")
    assert code == 0, err
    assert {row["name"] for row in json.loads(out)["rows"]} == {"noise", COLOURS, "majority class"}
    said = [line for line in err.splitlines() if line.startswith("left out: ")]
    assert [line.split(": ")[1] for line in said] == ["broken", "notes of mine"]
    assert "broken/model.onnx is damaged" in said[0]

    code, out, err = compare(colours, "--backbones", "noise,broken")
    assert (code, out) == (1, "")
    assert "Error: " in err
    assert "broken/model.onnx is damaged" in err
    shutil.rmtree(own.backbones / "noise")
    code, _, err = compare(colours)
    assert code == 1
    assert err.splitlines()[-1].startswith(f"Error: no backbone in {own.root} can be used")


def test_a_precision_that_cannot_be_had_is_told_before_anything_is_embedded(
    compare: Command, own: DataFolder, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The colours, which need no network, are not begun either."""
    monkeypatch.setattr("classifiers.data.features.embed", None)
    publish_noise(own)
    code, out, err = compare(colours, "--backbones", "noise", "--precision", "int8")
    assert (code, out) == (1, "")
    assert err.startswith("Error: no int8 graph of this backbone is kept for the provider 'cpu'")


def test_a_backbone_whose_pictures_cannot_be_decoded_here_is_told_before_any_is(
    compare: Command, own: DataFolder, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would fail on each JPEG, and all backbones be compared on what is left."""
    monkeypatch.setitem(sys.modules, "nvidia", None)
    monkeypatch.setattr(gpu_images, "_THREAD", threading.local())
    publish_noise(own)
    publish_noise(own, "noise@gpu", replace(SPEC, decode="gpu"))
    (own.backbones / DEFAULT_BACKBONE).unlink()
    code, out, err = compare(colours, "--json")
    assert code == 0, err
    assert {row["name"] for row in json.loads(out)["rows"]} == {"noise", COLOURS, "majority class"}
    assert "left out: noise@gpu: this backbone decodes JPEGs on an NVIDIA GPU by nvImageCodec" in err
    code, out, err = compare(colours, "--backbones", "noise,noise@gpu")
    assert (code, out) == (1, "")
    assert err.startswith("Error: this backbone decodes JPEGs on an NVIDIA GPU by nvImageCodec")


def test_unusable_images_are_left_out_of_all_and_listed_once(
    compare: Command, own: DataFolder, colours: Path
) -> None:
    """As fit-head does, with the same exit code; a copy counts once."""
    publish_noise(own)
    (colours / "red/0.png").write_text("text")
    shutil.copy(colours / "red/1.png", colours / "red/copy.png")
    (colours / "stray.png").write_text("text")
    code, out, err = compare(colours, "--backbones", "noise", "--json")
    facts = json.loads(out)
    assert code == 3
    assert facts["pictures"] == {"blue": 12, "red": 11}
    assert facts["copies"] == 1
    assert len(facts["rejected"]) == err.count("left out: ") == 2
    assert f"left out: {colours}/red/0.png: not a picture" in err


def remove_a_class(folder: Path) -> None:
    shutil.rmtree(folder / "blue")


def leave_one_image(folder: Path) -> None:
    for number in range(1, 12):
        (folder / f"blue/{number}.png").unlink()


def leave_copies_of_one(folder: Path) -> None:
    for number in range(1, 12):
        shutil.copy(folder / "blue/0.png", folder / f"blue/{number}.png")


def break_a_class(folder: Path) -> None:
    for number in range(12):
        (folder / f"blue/{number}.png").write_text(str(number))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (remove_a_class, "images of one class only, 'red': add another class"),
        (leave_one_image, "the class 'blue' has only one usable image"),
        (leave_copies_of_one, "the class 'blue' has only one usable image"),
        (break_a_class, "images of one class only, 'red'"),
        (shutil.rmtree, "no such folder or CSV file"),
    ],
)
def test_pictures_that_cannot_be_compared_on_are_one_sentence(
    compare: Command, own: DataFolder, colours: Path, harm: Callable[[Path], None], says: str
) -> None:
    """And no backbone computes anything for them."""
    harm(colours)
    code, out, err = compare(colours)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert says in err.splitlines()[-1]
    assert not own.cache.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--backbones", "efficientnet_lite1"], 1, "run `penultimate export efficientnet_lite1 --data"),
        (["--backbones", "efficientnet_lite0,resnet5000"], 1, "there is no backbone 'resnet5000'"),
        (["--backbones", " , "], 1, "--backbones names nothing"),
        (["--layers", ""], 1, "--layers names nothing"),
        (["--layers", "a", "--backbones", "efficientnet_lite0,b"], 1, "--layers is about one backbone"),
        (["--layers", "a:b"], 1, "'b' is no pooling of the layer a"),
        (["--report", "nowhere/page.html"], 1, "there is no folder"),
        (["--folds", "1"], 2, "--folds"),
        (["--head", "forest"], 2, "forest"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_embedded(
    compare: Command, own: DataFolder, colours: Path, arguments: list[str], code: int, says: str
) -> None:
    """In one sentence."""
    ended, out, err = compare(colours, *arguments)
    assert (ended, out) == (code, "")
    assert says in err
    assert not own.cache.exists()


@pytest.mark.parametrize("folder", [True, False])
def test_without_any_backbone_it_says_what_to_do(
    penultimate, colours: Path, tmp_path: Path, folder: bool
) -> None:
    """Whether the data folder is empty or not there; in a process of its own, as a user runs it."""
    if folder:
        (tmp_path / "elsewhere/backbones/.draft").mkdir(parents=True)
    done = penultimate("compare-backbones", str(colours), "--data", str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no backbone has been exported to ")
    assert f"run `penultimate export {DEFAULT_BACKBONE} --data" in done.stderr
