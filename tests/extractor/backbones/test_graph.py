"""What is written for a PyTorch network: fit for inference, each weight once, in one file or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from extractor.backbones.bundle import MODEL, MODEL_DATA, Bundle, Manifest, publish
from extractor.backbones.export.graph import write_graph
from extractor.backbones.onnx_file import check_for_inference, share_weights
from extractor.backbones.proof import MIN_COSINE, write_golden
from extractor.backbones.providers import Numerics, installed_providers
from extractor.backbones.session import Session, open_session
from extractor.errors import DamagedFile, InvalidArgument
from extractor.images import decode
from extractor.preprocessing import Preprocessing

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's own coming changes

SIDE = 32
RULE = Preprocessing(SIDE, SIDE, 36, "bicubic", (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))


class Network(torch.nn.Module):
    """Convolution, normalisation and Dropout, then two linear layers whose weights are equal."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 64, 5, 4), torch.nn.BatchNorm2d(64), torch.nn.ReLU()
        )
        self.body[1].running_mean.uniform_(-1, 1)
        self.dropout = torch.nn.Dropout(0.5)
        self.one, self.other = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
        self.other.load_state_dict(self.one.state_dict())
        self.unused = torch.nn.Linear(64, 1000)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        rows = self.dropout(self.body(pictures).mean((2, 3)))
        return torch.tanh(self.other(torch.relu(self.one(rows))))


@pytest.fixture(scope="module")
def embedding() -> torch.nn.Module:
    return Network().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def whole(embedding: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph in one file."""
    file = tmp_path_factory.mktemp("whole") / MODEL
    write_graph(embedding, RULE, file)
    return file


@pytest.fixture(scope="module")
def parted(embedding: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of it with its weights beside the graph."""

    def write(folder: Path) -> None:
        write_golden(folder / "golden", lambda image: original(embedding, np.asarray(cropped(image))))
        write_graph(embedding, RULE, folder / MODEL, inline_bytes=10_000)

    weights = {"source": "drawn", "sha256": "0", "licence": "MIT"}
    manifest = Manifest("parted", "tanh", 64, RULE, weights, MIN_COSINE, {"penultimate": "0"})
    return publish(manifest, write, tmp_path_factory.mktemp("parted") / "parted")


def cropped(image: Any) -> np.ndarray:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return decode(buffer.getvalue(), RULE)


def original(embedding: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    rows = (pixels / 255 - np.array(RULE.mean)) / np.array(RULE.std)
    return embedding(torch.from_numpy(rows.transpose(2, 0, 1)[None]).float())[0].numpy()


def test_a_graph_takes_any_number_of_raw_pictures(whole: Path, embedding: torch.nn.Module) -> None:
    """uint8 [n, height, width, 3] in, float32 [n, dim] out, each as PyTorch computes it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(whole), providers=["CPUExecutionProvider"])
    entry, leaving = session.get_inputs()[0], session.get_outputs()[0]
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["n", SIDE, SIDE, 3])
    assert (leaving.name, leaving.type, leaving.shape) == ("embeddings", "tensor(float)", ["n", 64])
    for size in (1, 2, 5):
        pixels = np.random.default_rng(size).integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)
        rows = session.run(None, {"images": pixels})[0]
        for row, picture in zip(rows, pixels, strict=True):
            np.testing.assert_allclose(row, original(embedding, picture), atol=1e-5)


def test_nothing_of_training_is_left(whole: Path) -> None:
    """Dropout is gone and the normalisation is folded into the convolution."""
    kinds = {node.op_type for node in onnx.load(whole).graph.node}
    assert "Conv" in kinds
    assert not kinds & {"Dropout", "BatchNormalization"}


def test_each_weight_is_there_once(whole: Path) -> None:
    """Of equal layers one, of unused ones none: the file is as large as what is needed."""
    graph = onnx.load(whole).graph
    large = [tensor for tensor in graph.initializer if len(tensor.raw_data) >= 1024]
    assert len({tensor.raw_data for tensor in large}) == len(large)
    needed = 4 * (64 * 3 * 5 * 5 + 64 * 64)
    assert sum(len(tensor.raw_data) for tensor in large) == needed
    assert {tensor.data_type for tensor in large} == {TensorProto.FLOAT}
    assert whole.stat().st_size < needed + 6_000


def test_weights_keep_the_names_of_the_network(whole: Path) -> None:
    """Not those of what is put around it."""
    names = {tensor.name for tensor in onnx.load(whole).graph.initializer}
    assert not [name for name in names if name.startswith("embedding.")]
    assert "body.0.weight" in names


def test_the_same_network_gives_the_same_bytes(
    whole: Path, parted: Bundle, embedding: torch.nn.Module, tmp_path: Path
) -> None:
    """In one file or two, written again anywhere."""
    write_graph(embedding, RULE, tmp_path / MODEL)
    assert (tmp_path / MODEL).read_bytes() == whole.read_bytes()
    write_graph(embedding, RULE, tmp_path / MODEL, inline_bytes=10_000)
    for name in (MODEL, MODEL_DATA):
        assert (tmp_path / name).read_bytes() == (parted.path / name).read_bytes()


def test_a_graph_that_fits_again_leaves_no_weights_beside_it(
    whole: Path, embedding: torch.nn.Module, tmp_path: Path
) -> None:
    """What was there of an earlier one is removed."""
    write_graph(embedding, RULE, tmp_path / MODEL, inline_bytes=10_000)
    write_graph(embedding, RULE, tmp_path / MODEL)
    assert [file.name for file in tmp_path.iterdir()] == [MODEL]


def test_weights_beside_the_graph_are_part_of_the_bundle(parted: Bundle, whole: Path) -> None:
    """Both files are in the manifest, the weights in the second alone, and both pass the checker."""
    assert {MODEL, MODEL_DATA} <= parted.manifest.files.keys()
    assert (parted.path / MODEL_DATA).stat().st_size >= 4 * (64 * 3 * 5 * 5 + 64 * 64)
    assert parted.model.stat().st_size < 6_000
    assert (parted.path / MODEL_DATA).stat().st_mode == parted.model.stat().st_mode
    onnx.checker.check_model(str(parted.model), full_check=True)
    loaded, expected = onnx.load(parted.model), onnx.load(whole)
    for tensor, other in zip(loaded.graph.initializer, expected.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(other))


@pytest.mark.parametrize("provider", [one for one in installed_providers() if one in ("cpu", "openvino")])
def test_every_provider_finds_the_weights_beside_the_graph(
    parted: Bundle, provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whatever folder it runs in."""
    monkeypatch.chdir(tmp_path)
    assert open_session(parted, provider, "fp32")[1] >= 0.9999


def test_the_fingerprint_covers_the_weights_beside_the_graph(parted: Bundle, tmp_path: Path) -> None:
    """Other weights behind the same graph are another backbone."""

    def write(folder: Path) -> None:
        for name in parted.manifest.files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(parted.read(name))
        data = bytearray(parted.read(MODEL_DATA))
        data[5] ^= 1
        (folder / MODEL_DATA).write_bytes(data)

    other = publish(parted.manifest, write, tmp_path / "other")
    assert other.manifest.files[MODEL] == parted.manifest.files[MODEL]
    assert other.fingerprint != parted.fingerprint


def test_weights_that_change_after_a_bundle_was_opened_are_not_loaded(parted: Bundle, tmp_path: Path) -> None:
    """They are looked at again when the network is loaded."""
    import shutil

    path = Path(shutil.copytree(parted.path, tmp_path / "copy"))
    bundle = Bundle.open(path)
    data = bytearray((path / MODEL_DATA).read_bytes())
    data[-1] ^= 1
    (path / MODEL_DATA).write_bytes(data)
    with pytest.raises(DamagedFile, match=r"model\.onnx\.data"):
        Session(bundle, Numerics("cpu", "fp32"))


def test_a_network_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """As one that looks at its numbers to decide what to do."""

    class Undecided(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean((2, 3)) if pictures.sum() > 0 else pictures.amax((2, 3))

    with pytest.raises(InvalidArgument, match="PyTorch cannot write this network") as caught:
        write_graph(Undecided(), RULE, tmp_path / MODEL)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_network_for_a_batch_of_two_is_refused(tmp_path: Path) -> None:
    """The batch that it is traced with must not become part of it."""

    class Pair(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.reshape(2, 3, -1).mean(2)

    with pytest.raises(InvalidArgument):
        write_graph(Pair(), RULE, tmp_path / MODEL)
    assert not list(tmp_path.iterdir())


def a_graph(*nodes: Any, batch: int | str = "n", weights: dict[str, np.ndarray] | None = None) -> Any:
    """From "images", float32 [batch, 400], to "embeddings"."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 400])],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [batch, 400])],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        )
    )


TRAINING = {
    "Dropout": helper.make_node("Dropout", ["images"], ["embeddings"], name="d"),
    "BatchNormalization": helper.make_node(
        "BatchNormalization", ["images", *"abcd"], ["embeddings"], name="b", training_mode=1
    ),
    "BatchNormalization, of old": helper.make_node(
        "BatchNormalization", ["images", *"abcd"], ["embeddings", "mean", "var"], name="o"
    ),
}


@pytest.mark.parametrize("node", TRAINING.values(), ids=TRAINING)
def test_a_node_for_training_is_refused_by_name(node: Any) -> None:
    """Also inside a branch."""
    told = f"the {node.op_type} node '{node.name}', which is for training"
    with pytest.raises(InvalidArgument, match=told):
        check_for_inference(a_graph(node))
    branch = helper.make_graph([node], "branch", [], [])
    outer = helper.make_node("If", ["c"], ["embeddings"], then_branch=branch, else_branch=branch)
    with pytest.raises(InvalidArgument, match=told):
        check_for_inference(a_graph(outer))


def test_normalisation_as_it_is_used_is_no_training() -> None:
    """With the statistics that were learnt."""
    check_for_inference(a_graph(helper.make_node("BatchNormalization", ["images", *"abcd"], ["embeddings"])))


def test_a_fixed_batch_is_refused() -> None:
    """With the shape."""
    with pytest.raises(InvalidArgument, match=r"the batch of 'images' is fixed: its shape is \[3, 400\]"):
        check_for_inference(a_graph(helper.make_node("Relu", ["images"], ["embeddings"]), batch=3))


def test_equal_weights_are_shared_where_nothing_else_differs() -> None:
    """Not when they are small, of another type or of another shape; also by nodes inside a branch."""
    value = np.arange(400, dtype=np.float32)
    weights = {"one": value, "same": value.copy(), "other": value + 1, "none": value + 2}
    weights |= {"row": value.reshape(1, 400), "bits": value.view(np.int32), "s1": value[:9], "s2": value[:9]}
    branch = helper.make_graph([helper.make_node("Add", ["same", "other"], ["sum"])], "branch", [], [])
    nodes = [
        helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch),
        helper.make_node("Sum", ["images", "one", "same", "row", "bits", "s1", "s2"], ["embeddings"]),
    ]
    graph = a_graph(*nodes, weights=weights).graph
    share_weights(graph)
    assert [tensor.name for tensor in graph.initializer] == ["one", "other", "row", "bits", "s1", "s2"]
    assert list(graph.node[1].input) == ["images", "one", "one", "row", "bits", "s1", "s2"]
    assert list(graph.node[0].attribute[0].g.node[0].input) == ["one", "other"]


def test_the_bundled_backbone_keeps_its_fingerprint(bundle: Bundle) -> None:
    """Caches and collections of users depend on it; other versions of PyTorch may write other bytes."""
    exporter = {
        name: bundle.manifest.exporter[name].split("+")[0] for name in ("torch", "timm", "onnx", "onnxscript")
    }
    if exporter != {"torch": "2.13.0", "timm": "1.0.31", "onnx": "1.23.2", "onnxscript": "0.7.2"}:
        pytest.skip(f"was written down for other versions than {exporter}")
    assert bundle.fingerprint == "4d3894eb05566b1eed856961af3e72fee4604d27dff2d83689cccb25f71a52b3"
