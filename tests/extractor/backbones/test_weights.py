"""Weights: had from the hubs or from a file, read without running anything, and never another network's."""

from __future__ import annotations

import functools
import hashlib
import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from extractor.backbones import catalogue
from extractor.backbones import export as export_module
from extractor.backbones.bundle import Bundle
from extractor.backbones.catalogue import Backbone
from extractor.backbones.export import export, graph, lite_names, networks, proving, weights
from extractor.backbones.export.timm_models import find
from extractor.backbones.origins import HuggingFaceFile, TorchHubFile
from extractor.errors import DamagedFile, InvalidArgument
from extractor.settings import DataFolder

SMALL = "timm/test_vit"
CONTENT = b"not really weights, but exactly these bytes"


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """The weights of a small network, as its library makes them."""
    networks.import_torchvision()
    import timm
    import torch

    torch.manual_seed(0)
    return dict(timm.create_model(find(SMALL).architecture).state_dict())


@pytest.fixture
def file(tmp_path: Path, state: dict[str, Any]) -> Path:
    import torch

    torch.save(state, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found in, and nothing comes into, the caches of whoever runs the tests."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging"))


@pytest.fixture
def handler() -> type[SimpleHTTPRequestHandler]:
    return QuietHandler


@pytest.fixture
def hub(tmp_path: Path, handler: type[SimpleHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server with one file."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / hub_name()).write_bytes(CONTENT)
    serve = functools.partial(handler, directory=str(tmp_path / "hub"))
    with HTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def hub_name(content: bytes = CONTENT) -> str:
    return f"some-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def published_at(url: str) -> Backbone:
    return replace(catalogue.find("resnet18"), weights=TorchHubFile("Some_Weights.V1", url, 43, "CC0-1.0"))


def test_published_weights_are_downloaded_once(hub: str) -> None:
    """To where torch itself looks; the second time no server is asked."""
    backbone = published_at(f"{hub}/{hub_name()}")
    notes: list[str] = []
    fetched = weights.weights_of(backbone, note=notes.append)
    assert fetched.read_bytes() == CONTENT
    assert notes == ["downloading 0 MB of weights"]
    assert weights.weights_of(backbone, note=notes.append) == fetched == backbone.weights.find()
    assert len(notes) == 1
    assert [entry.name for entry in fetched.parent.iterdir()] == [hub_name()]


def test_the_folder_of_downloads_is_torchs_own() -> None:
    """What torch has downloaded before is found, and what is downloaded here serves torch."""
    import torch

    origin = published_at("http://x/some-00.pth").weights
    assert isinstance(origin, TorchHubFile)
    assert str(origin.kept.parent) == f"{torch.hub.get_dir()}/checkpoints"


def test_another_file_than_the_published_one_is_refused(hub: str, tmp_path: Path) -> None:
    """When it arrives, and when it lies there: the name holds the first digits of its SHA-256."""
    wrong = hub_name(b"what it should be")
    (tmp_path / "hub" / wrong).write_bytes(CONTENT)
    backbone = published_at(f"{hub}/{wrong}")
    with pytest.raises(InvalidArgument, match="another SHA-256"):
        weights.weights_of(backbone)
    kept = backbone.weights.kept  # type: ignore[attr-defined]
    assert not list(kept.parent.iterdir())
    kept.write_bytes(CONTENT)
    with pytest.raises(DamagedFile, match=r"00|some-.*remove it"):
        weights.weights_of(backbone)


class ShorteningHandler(QuietHandler):
    """Says that one byte more will come than does."""

    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, str(int(value) + 1) if keyword == "Content-Length" else value)


@pytest.mark.parametrize("handler", [ShorteningHandler])
def test_a_download_that_ends_too_early_is_refused(hub: str, tmp_path: Path) -> None:
    """Also where the file's name has no SHA-256 that would tell."""
    (tmp_path / "hub" / "plain.pth").write_bytes(CONTENT)
    backbone = published_at(f"{hub}/plain.pth")
    with pytest.raises(InvalidArgument, match="1 bytes of it did not arrive"):
        weights.weights_of(backbone)
    assert backbone.weights.find() is None


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize("name", ["resnet18", "timm/vit_small_patch14_dinov2"])
def test_without_network_one_sentence_says_what_to_download(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where, and how to give it; the hub's client, which tries for half a minute, is not begun."""
    address = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    backbone = catalogue.find(name)
    if isinstance(backbone.weights, TorchHubFile):
        backbone = replace(backbone, weights=replace(backbone.weights, url=f"{address}/w-00.pth"))
    url = backbone.weights.url  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgument) as refused:
        weights.weights_of(backbone)
    text = str(refused.value)
    assert text.startswith(f"the weights of {name} are not on this machine and cannot be downloaded (")
    assert text.endswith(f"download {url} where there is a network, and give the file with --weights FILE")
    assert "refused" in text
    assert "\n" not in text


@pytest.mark.parametrize("address", ["nowhere", "http://127.0.0.1:port", "http://[::1", "http://a b"])
def test_a_wrong_address_of_the_hub_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """With the address as it would be used, so that the mistake can be seen."""
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(InvalidArgument, match="cannot be downloaded") as refused:
        weights.weights_of(catalogue.find("timm/vit_small_patch14_dinov2"))
    assert f"download {address}/timm/vit_small_patch14_dinov2" in str(refused.value)
    assert "\n" not in str(refused.value)


class LockedHandler(QuietHandler):
    """Answers only who sends the right token."""

    def do_HEAD(self) -> None:
        right = self.headers["Authorization"] == "Bearer of the token"
        self.send_response(200 if right else 401)
        self.end_headers()


@pytest.mark.parametrize("handler", [LockedHandler])
def test_a_locked_repository_is_asked_with_the_user_s_token(
    hub: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the hub's client is begun; without the token, or when the client fails, one sentence."""
    backbone = catalogue.find("timm/vit_small_patch14_dinov2")
    monkeypatch.setenv("HF_ENDPOINT", hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InvalidArgument, match=r"cannot be downloaded \(Unauthorized\)"):
        weights.weights_of(backbone)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "of the token")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(file))
    assert weights.weights_of(backbone) == file

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("in the middle\nof it")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(InvalidArgument, match=r"cannot be downloaded \(.*in the middle.*\): download"):
        weights.weights_of(backbone)


def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts and never answers is as good as none, after the time-out."""
    monkeypatch.setattr(weights, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/w-00.pth"
        with pytest.raises(InvalidArgument, match="timed out"):
            weights.weights_of(published_at(url))


def test_what_the_hub_s_client_has_downloaded_is_found(tmp_path: Path) -> None:
    """In the layout of its cache, at the revision that it took for the newest."""
    origin = HuggingFaceFile("some/model", "model.safetensors", 1, "CC0-1.0")
    folder = tmp_path / "hugging" / "hub" / "models--some--model"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(CONTENT)
    assert origin.find() is None
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    found = origin.find()
    assert found is not None
    assert found.read_bytes() == CONTENT


def test_every_format_of_file_gives_the_same_weights(
    tmp_path: Path, file: Path, state: dict[str, Any]
) -> None:
    """Torch's, its old one, a checkpoint with more in it, and safetensors: one SHA-256 of the state."""
    import safetensors.torch
    import torch

    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "checkpoint.pth.tar")
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    files = [file, tmp_path / "old.pth", tmp_path / "checkpoint.pth.tar", tmp_path / "weights.safetensors"]
    assert len({weights.state_sha256(weights.read_state(one)) for one in files}) == 1
    changed = dict(state)
    changed["norm.bias"] = changed["norm.bias"] + 1e-6
    assert weights.state_sha256(changed) != weights.state_sha256(state)


class Harmful:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of the file was run",))


def test_nothing_in_a_file_of_weights_is_run(tmp_path: Path) -> None:
    """A pickle that calls a function is refused before it does."""
    path = tmp_path / "harmful.pth"
    path.write_bytes(pickle.dumps({"weights": Harmful()}))
    with pytest.raises(InvalidArgument, match="cannot be read as weights"):
        weights.read_state(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("w.pth", b""), ("w.pth", b"PK\x03\x04 cut"), ("w.safetensors", b"{}"), ("w.safetensors", b"")],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Empty, cut short, or something else."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArgument, match="cannot be read as weights"):
        weights.read_state(tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2]])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    """An empty one too: nothing would be loaded from it."""
    import torch

    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InvalidArgument, match="holds no state dict"):
        weights.read_state(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"norm.bias": None}, r"these are not weights of timm/test_vit: norm\.bias \(64,\) is missing$"),
        ({"norm.bias": (65,)}, r"norm\.bias is \(65,\) and should be \(64,\)$"),
        ({"extra": (2, 3)}, r"extra is not in this network$"),
        ({f"extra{n}": (1,) for n in range(9)}, r"extra0 .*; extra1 .*; extra2 [^;]*; and 6 more$"),
    ],
)
def test_another_network_s_weights_are_refused(
    tmp_path: Path, state: dict[str, Any], change: dict[str, tuple[int, ...] | None], sentence: str
) -> None:
    """The first tensors that differ are named with their shapes; a size is never bent to fit."""
    import torch

    changed = state | {name: torch.zeros(shape) for name, shape in change.items() if shape}
    for name in [name for name, shape in change.items() if shape is None]:
        del changed[name]
    torch.save(changed, tmp_path / "w.pth")
    with pytest.raises(InvalidArgument, match=sentence):
        export(SMALL, DataFolder(tmp_path / "data"), weights=tmp_path / "w.pth")
    assert not (tmp_path / "data" / "backbones" / "timm--test_vit").exists()


def test_a_file_of_weights_is_recorded_and_never_passed_over(
    tmp_path: Path, file: Path, state: dict[str, Any]
) -> None:
    """The manifest says whose; another file for a bundle that is there is an error, not ignored."""
    import torch

    data = DataFolder(tmp_path / "data")
    bundle, made = export(SMALL, data, weights=file)
    assert made
    assert bundle.path.name == "timm--test_vit"
    assert bundle.manifest.weights == {
        "source": "a file of the user's: weights.pth",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "state_sha256": weights.state_sha256(state),
        "licence": "unknown",
    }
    assert bundle.manifest.has_classifier
    assert export(SMALL, data, weights=file) == export(SMALL, data) == (bundle, False)
    torch.save({**state, "norm.bias": state["norm.bias"] + 1}, tmp_path / "other.pth")
    with pytest.raises(InvalidArgument, match=r"other weights than .*other\.pth: replace it with --force"):
        export(SMALL, data, weights=tmp_path / "other.pth")
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    with pytest.raises(InvalidArgument, match=r"photo\.jpg cannot be read as weights"):
        export(SMALL, data, weights=tmp_path / "photo.jpg")
    other, made = export(SMALL, data, weights=tmp_path / "other.pth", force=True)
    assert made
    assert other.fingerprint != bundle.fingerprint
    with pytest.raises(InvalidArgument, match=r"nowhere\.pth cannot be read: No such file"):
        export(SMALL, data, weights=tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("value", "fault"), [("nan", "numbers that are not finite"), ("0", "nothing but zeros")]
)
@pytest.mark.slow
def test_weights_of_no_use_replace_nothing(
    tmp_path: Path, file: Path, state: dict[str, Any], value: str, fault: str
) -> None:
    """Not even when it is forced: the good bundle stays to the last byte, and no draft beside it."""
    import torch

    data = DataFolder(tmp_path / "data")
    bundle, _ = export(SMALL, data, weights=file)
    spoilt = {name: torch.full_like(tensor, float(value)) for name, tensor in state.items()}
    torch.save(spoilt, tmp_path / "spoilt.pth")
    with pytest.raises(InvalidArgument, match=f"these weights are of no use.* {fault} for the picture"):
        export(SMALL, data, weights=tmp_path / "spoilt.pth", force=True)
    assert Bundle.open(bundle.path) == bundle
    assert [entry.name for entry in data.backbones.iterdir() if entry.is_dir()] == [bundle.path.name]


@pytest.mark.slow
def test_a_graph_that_computes_something_else_replaces_nothing(
    tmp_path: Path, file: Path, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is run before it is published."""
    import torch

    data = DataFolder(tmp_path / "data")
    bundle, _ = export(SMALL, data, weights=file)

    def wrong(embedding: Any, *others: Any) -> None:
        graph.write_graph(torch.nn.Sequential(embedding, torch.nn.ReLU()).eval(), *others)

    monkeypatch.setattr(export_module, "write_graph", wrong)
    with pytest.raises(InvalidArgument, match=r"the smallest cosine is 0\.\d+, under the bound of 0\.9999"):
        export(SMALL, data, weights=file, force=True)
    assert Bundle.open(bundle.path) == bundle


def test_without_onnx_runtime_the_original_s_vectors_are_checked_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export needs torch; a machine that only exports need not run anything."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    proving.check_model(tmp_path / "nowhere.onnx", find(SMALL).preprocessing, [], 0.9999)


def test_densenet_s_published_names_are_understood(tmp_path: Path) -> None:
    """Its file is older than the ban on dots in the names of modules."""
    import re

    import torch
    from torchvision.models import get_model

    wanted = get_model("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.)(norm|conv)([12])", r"\1\2.\3", name): wanted[name] for name in wanted}
    counters = [name for name in old if name.endswith("num_batches_tracked")]
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save({name: old[name] for name in old if name not in counters}, tmp_path / "w.pth")
    network = networks.original(catalogue.find("densenet121"), tmp_path / "w.pth")
    name = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(network.state_dict()[name], wanted[name])


@pytest.fixture(scope="module")
def lite() -> tuple[Path, dict[str, Any]]:
    """The installed file of the default backbone's weights, and what is in it."""
    file = weights.weights_of(catalogue.find("efficientnet_lite0"))
    return file, weights.read_state(file)


def test_every_published_lite_tensor_has_one_name_in_timm(lite: tuple[Path, dict[str, Any]]) -> None:
    """All 296, each once; in the file as published they are in timm's order, which is a second witness."""
    import torch

    file, state = lite
    wanted = networks.original(catalogue.find("efficientnet_lite0"), file).state_dict()
    names = lite_names.published_names(wanted.keys())
    assert (len(names), len(set(names.values()))) == (296, 296)
    assert names == dict(zip(state, wanted, strict=True))
    assert all(torch.equal(wanted[names[name]], tensor) for name, tensor in state.items())


def test_lite_weights_are_told_by_name_whatever_their_order(
    tmp_path: Path, lite: tuple[Path, dict[str, Any]]
) -> None:
    """As safetensors sorts them, the other way round, and under timm's own names: the same network."""
    import safetensors.torch
    import torch

    backbone = catalogue.find("efficientnet_lite0")
    plain = {name: tensor.contiguous() for name, tensor in lite[1].items()}
    safetensors.torch.save_file(plain, tmp_path / "w.safetensors")
    torch.save(dict(reversed(lite[1].items())), tmp_path / "reversed.pth")
    right = networks.original(backbone, lite[0]).state_dict()
    torch.save(right, tmp_path / "timm.pth")
    for name in ("w.safetensors", "reversed.pth", "timm.pth"):
        found = networks.original(backbone, tmp_path / name).state_dict()
        assert weights.state_sha256(found) == weights.state_sha256(right)


def test_lite_weights_under_unknown_names_are_refused(
    tmp_path: Path, lite: tuple[Path, dict[str, Any]]
) -> None:
    """As many tensors of the right shapes in the right order prove nothing."""
    import torch

    torch.save({f"a.{name}": tensor for name, tensor in lite[1].items()}, tmp_path / "w.pth")
    with pytest.raises(InvalidArgument, match=r"conv_stem\.weight \(32, 3, 3, 3\) is missing"):
        networks.original(catalogue.find("efficientnet_lite0"), tmp_path / "w.pth")
