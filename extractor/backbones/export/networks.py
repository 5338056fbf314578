"""The original networks in PyTorch, with their weights and their own preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from extractor.backbones.catalogue import Backbone
from extractor.results import Vector

_MISSING_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


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
    """The network in PyTorch, as timm builds it, with its weights, for inference.

    The file's tensors have other names than timm's, but the same order.
    """
    import torch

    import_torchvision()
    import timm

    network = timm.create_model(backbone.architecture)
    wanted = network.state_dict()
    found = torch.load(weights, map_location="cpu", weights_only=True)
    shapes = [tuple(tensor.shape) for tensor in found.values()]
    assert shapes == [tuple(tensor.shape) for tensor in wanted.values()], (
        "these are another network's weights"
    )
    network.load_state_dict(dict(zip(wanted, found.values(), strict=True)))
    return network.eval().requires_grad_(False)


def transform(backbone: Backbone) -> Any:
    """The preprocessing of timm for this backbone: a PIL image in, float32 [3, height, width] out."""
    from timm.data.transforms_factory import create_transform

    return create_transform(
        input_size=backbone.input_px,
        interpolation="bicubic",
        mean=backbone.mean,
        std=backbone.std,
        crop_pct=backbone.crop,
    )


def reference(network: Any, backbone: Backbone, image: Image.Image) -> tuple[Vector, Vector]:
    """Embedding and logits of the original network behind its own preprocessing: the judge of ours."""
    features = network.forward_features(transform(backbone)(image.convert("RGB"))[None])
    embedding, logits = (network.forward_head(features, pre_logits=pre)[0].numpy() for pre in (True, False))
    return embedding, logits
