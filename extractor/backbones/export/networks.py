"""The original networks in PyTorch, with their weights and their own preprocessing."""

from __future__ import annotations

import copy
import importlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from extractor.backbones.catalogue import Backbone
from extractor.backbones.export.lite_names import published_names
from extractor.backbones.export.timm_weights import timm_network
from extractor.backbones.export.weights import load, read_state
from extractor.results import Vector

if TYPE_CHECKING:
    import torch

_MISSING_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Its published file is older than PyTorch's ban on dots in the names of modules."""


def import_torchvision() -> None:
    """Import torchvision, which timm needs, even when it was built for another torch.

    From PyPI torchvision comes built for CUDA. Beside a torch built for the
    CPU its operators do not load, and it fails while describing two of them.
    No classification network uses them, so a declaration is enough; it is
    made only after that failure, as it would clash with the real ones.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name, schema in _MISSING_OPERATORS.items():
            torch.library.define(name, schema)
        import torchvision  # noqa: F401


def original(backbone: Backbone, weights: Path) -> Any:
    """The network in PyTorch, as its library builds it, with the weights of a file, for inference.

    Raises
    ------
    InvalidArgument
        When the file cannot be read, or is of another network.
    """
    import_torchvision()
    return _LOADERS[backbone.source](backbone, weights).eval().requires_grad_(False)


def _lite(backbone: Backbone, file: Path) -> Any:
    """The network of timm; the file's tensors have timm's names, or all of them the published ones."""
    import timm

    state, network = read_state(file), timm.create_model(backbone.architecture)
    names = network.state_dict().keys()
    if not names & state.keys():
        published = published_names(names)
        state = {published.get(name, name): tensor for name, tensor in state.items()}
    load(network, state, backbone)
    return network


def _torchvision(backbone: Backbone, file: Path) -> Any:
    from torchvision.models import get_model

    state = read_state(file)
    network = get_model(backbone.architecture, weights=None, **backbone.options)
    if any(map(_OLD_DENSENET.search, state)):
        state = {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()}
    load(network, state, backbone)
    return network


_LOADERS: dict[str, Callable[[Backbone, Path], Any]] = {
    "efficientnet-lite": _lite,
    "torchvision": _torchvision,
    "timm": timm_network,
}


def transform(backbone: Backbone) -> Any:
    """The library's own preprocessing for this backbone: a PIL image in, float32 [3, height, width] out."""
    import_torchvision()
    if backbone.source == "torchvision":
        return _torchvision_transform(backbone)
    from timm.models import get_pretrained_cfg

    data: Any = importlib.import_module("timm.data")  # whose functions have no types
    published: Any = get_pretrained_cfg(backbone.architecture)
    published = published.to_dict()
    asked: dict[str, Any] = {}
    if backbone.source == "efficientnet-lite":  # weights that were trained on other inputs than timm's
        asked = {"mean": backbone.mean, "std": backbone.std}
    if backbone.shape != tuple(published["input_size"][1:]):
        # half a pixel more, as timm rounds down
        asked["crop_pct"] = min(backbone.shape) / (backbone.resize_shorter + 0.5)
        asked["input_size"] = (3, *backbone.shape)
    return data.create_transform(**data.resolve_data_config(asked, pretrained_cfg=published))


def _torchvision_transform(backbone: Backbone) -> Any:
    from torchvision.models import get_weight

    published = get_weight(backbone.weights.name).transforms  # type: ignore[attr-defined]
    if backbone.input_px == published().crop_size[0]:
        return published()
    return published(crop_size=backbone.input_px, resize_size=backbone.resize_shorter)


def classifier(network: Any) -> torch.nn.Linear | None:
    """The last layer, when it is a linear one: what maps embeddings to classes."""
    import torch

    if hasattr(network, "get_classifier"):
        last = network.get_classifier()
        return last if isinstance(last, torch.nn.Linear) else None
    return [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]


def reference(network: Any, backbone: Backbone, image: Image.Image) -> tuple[Vector, Vector | None]:
    """Embedding and logits of the original network behind its own preprocessing: the judge of ours.

    The embedding is what the last layer is given; logits are None where it is no classifier.
    """
    pixels = transform(backbone)(image.convert("RGB"))[None]
    if hasattr(network, "forward_head"):
        features = network.forward_features(pixels)
        embedding = network.forward_head(features, pre_logits=True)[0].numpy()
        return embedding, network.forward_head(features)[0].numpy() if classifier(network) else None
    given: list[Any] = []
    last = classifier(network)
    assert last is not None
    with last.register_forward_hook(lambda _layer, inputs, _output: given.extend(inputs)):
        logits = network(pixels)[0].numpy()
    return given[0][0].numpy(), logits


def penultimate(network: Any) -> torch.nn.Module:
    """From normalised pictures to what the network's last layer is given; `network` stays as it is."""
    import torch

    class Penultimate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = _without_classifier(network)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            if hasattr(self.network, "forward_head"):
                features = self.network.forward_features(pictures)
                return torch.as_tensor(self.network.forward_head(features, pre_logits=True))
            return torch.as_tensor(self.network(pictures))

    return Penultimate().eval()


def _without_classifier(network: Any) -> Any:
    """The network anew around the same tensors, without what the last layer does."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    cut = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    _replace(cut, classifier(cut))
    return cut


def _replace(module: Any, last: torch.nn.Linear | None) -> None:
    """Put nothing in the last layer's place, and the plain mean in that of pooling layers."""
    import torch

    for name, layer in module.named_children():
        if layer is last:
            setattr(module, name, torch.nn.Identity())
        elif _averages(layer):
            setattr(module, name, _mean(keepdim=True))
        elif _averages(getattr(layer, "pool", None)) and isinstance(layer.flatten, torch.nn.Flatten):
            setattr(module, name, _mean(keepdim=False))  # timm's two layers in one
        else:
            _replace(layer, last)


def _averages(layer: Any) -> bool:
    import torch

    return isinstance(layer, torch.nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))


def _mean(keepdim: bool) -> torch.nn.Module:
    """The mean over height and width; the adaptive pooling is exported as a gather of every element."""
    import torch

    class Mean(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.mean((2, 3), keepdim=keepdim)

    return Mean()
