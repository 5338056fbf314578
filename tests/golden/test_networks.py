"""Every network of the catalogue, exported and run, is its library's own behind its library's transform.

The published weights cannot be had everywhere, so these are random ones. What
is compared with is built here by the libraries alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from extractor import images
from extractor.backbones.bundle import Bundle
from extractor.backbones.catalogue import BACKBONES, Backbone
from extractor.backbones.export import export
from extractor.backbones.export.networks import import_torchvision
from extractor.backbones.export.timm_models import find
from extractor.backbones.proof import GOLDEN
from extractor.results import Vector
from extractor.settings import DataFolder

FAST = {"resnet18", "timm/test_vit"}
UNLISTED = (
    "timm/test_vit",
    "timm/resnet10t",
    "timm/mobilenetv3_small_050",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    "timm/test_nfnet",
    "timm/mixer_s32_224",
    "timm/tf_efficientnetv2_b3",  # squashes pictures to a square
)
NAMES = [backbone.name for backbone in BACKBONES] + list(UNLISTED)

Reference = Callable[[bytes], tuple[Vector, Vector]]


def published_network(backbone: Backbone, state: dict[str, Any]) -> Any:
    """The network as its own library builds it when it loads its published weights; here it gets `state`."""
    import timm
    from torchvision.models import get_model, get_model_weights

    if backbone.source == "torchvision":
        kind = get_model_weights(backbone.architecture)
        with mock.patch.object(kind, "get_state_dict", return_value=state):
            return get_model(backbone.architecture, weights=kind.DEFAULT)
    network = timm.create_model(backbone.architecture)
    network.load_state_dict(state)
    return network


def published_transform(backbone: Backbone, network: Any) -> Any:
    """From a PIL image to the network's input, as the library's documentation says."""
    from timm.data import create_transform, resolve_model_data_config
    from torchvision.models import get_model_weights

    if backbone.source == "torchvision":
        return get_model_weights(backbone.architecture).DEFAULT.transforms()
    config = resolve_model_data_config(network)
    if backbone.source == "efficientnet-lite":
        config |= {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    return create_transform(**config)


def random_state(backbone: Backbone) -> dict[str, Any]:
    """The library's own initial weights; its constants are changed, so that the vectors depend on them.

    Not where there are batch normalisations: as random layers they magnify
    the difference of one in a pixel, which is all that the resize may differ by.
    """
    import timm
    import torch
    from torchvision.models import get_model

    torch.manual_seed(len(backbone.name))
    network: Any = (
        get_model(backbone.architecture, **backbone.options)
        if backbone.source == "torchvision"
        else timm.create_model(backbone.architecture)
    )
    if not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()):
        for tensor in network.parameters():
            _vary(tensor.detach())
    return dict(network.state_dict())


def _vary(tensor: Any) -> None:
    import torch

    constant = float(tensor.flatten()[0])
    if tensor.numel() > 1 and bool((tensor == constant).all()):
        small = 0 < abs(constant) < 0.01  # a layer's scale, with which it is nearly off
        tensor.copy_(torch.rand_like(tensor) if small else tensor + 0.1 * torch.randn_like(tensor))


def reference(backbone: Backbone, state: dict[str, Any]) -> Reference:
    """What the library's network gives its last layer for a picture, and what that makes of it."""
    import torch

    network = published_network(backbone, state).eval().requires_grad_(False)
    transform = published_transform(backbone, network)
    given: list[Any] = []
    last = network.get_classifier() if hasattr(network, "get_classifier") else _last_linear(network)
    last.register_forward_hook(lambda _layer, inputs, _output: given.append(inputs[0]))

    def run(photo: bytes) -> tuple[Vector, Vector]:
        given.clear()
        with torch.inference_mode():
            logits = network(transform(Image.open(io.BytesIO(photo)).convert("RGB"))[None])
        return given[0][0].numpy(), logits[0].numpy()

    return run


def _last_linear(network: Any) -> Any:
    import torch

    return [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]


def runner(bundle: Bundle) -> Callable[[bytes], Vector]:
    """Our decoding and ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle.model), providers=["CPUExecutionProvider"])
    spec = bundle.manifest.preprocessing

    def run(photo: bytes) -> Vector:
        vector: Vector = session.run(None, {"images": images.decode(photo, spec)[None]})[0][0]
        return vector

    return run


def cosine(a: Vector, b: Vector) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_every_network_is_its_library_s_own(name: str, odd_photos: list[bytes], tmp_path: Path) -> None:
    """Cosine at least 0.9999 over real pictures of odd sizes and modes; the kept classifier completes it."""
    check_network(name, odd_photos, tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("test_vit", {"crop_mode": "border", "crop_pct": 1.0, "mean": (0.2, 0.5, 0.8)}),
        ("test_vit", {"input_size": (3, 192, 128), "crop_mode": "squash", "crop_pct": 1.0}),
        ("test_convnext", {"input_size": (3, 96, 128), "crop_pct": 0.875}),
        ("test_convnext", {"input_size": (3, 128, 96), "crop_mode": "border", "crop_pct": 0.9}),
    ],
)
def test_networks_that_pad_or_take_no_squares_are_timm_s_own(
    name: str,
    change: dict[str, Any],
    odd_photos: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that timm has of that kind are large: small ones are published so here."""
    import_torchvision()
    from timm.models import _registry, get_pretrained_cfg

    published: Any = get_pretrained_cfg(name)
    tagged = f"{name}.{published.tag}"
    monkeypatch.setitem(_registry._model_pretrained_cfgs, tagged, replace(published, **change))
    rule = check_network(f"timm/{tagged}", odd_photos, tmp_path).manifest.preprocessing
    shape = change.get("input_size", published.input_size)[1:]
    assert (rule.height, rule.width) == shape
    assert rule.resize == {"border": "pad", "squash": "squash"}.get(change.get("crop_mode", ""), "shorter")


def check_network(name: str, odd_photos: list[bytes], tmp_path: Path) -> Bundle:
    """Export it with random weights and compare; the bundle."""
    import safetensors.torch

    import_torchvision()
    backbone = find(name)
    state = random_state(backbone)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    bundle, _ = export(name, DataFolder(tmp_path), weights=tmp_path / "w.safetensors")
    original, ours = reference(backbone, state), runner(bundle)
    del state
    photos = odd_photos[::2] + [file.read_bytes() for file in sorted(GOLDEN.glob("*.jpg"))[:4]]
    pairs = [(*original(photo), ours(photo)) for photo in photos]
    for expected, logits, found in pairs:
        assert found.shape == expected.shape == (backbone.dim,)
        assert cosine(found, expected) >= bundle.manifest.min_cosine["fp32"] == 0.9999
        if bundle.manifest.has_classifier:
            kept = bundle.classifier()
            ratio = np.abs(found @ kept.weights.T + kept.bias - logits).max() / np.abs(logits).max()
            assert ratio < 0.05
    check_they_tell_pictures_apart([expected for expected, _, _ in pairs], [found for _, _, found in pairs])
    return bundle


def check_they_tell_pictures_apart(expected: list[Vector], found: list[Vector]) -> None:
    """Random networks give similar vectors for all pictures: what differs between pictures agrees as well."""
    centre = np.mean(expected, axis=0)
    differences = [
        cosine(ours - centre, theirs - centre) for ours, theirs in zip(found, expected, strict=True)
    ]
    assert min(differences) > 0.99
