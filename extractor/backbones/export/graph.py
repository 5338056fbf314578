"""From a PyTorch network to the bytes of an ONNX file: uint8 pictures in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from extractor.backbones.catalogue import Backbone

if TYPE_CHECKING:
    import torch

# The lowest in which the exporter writes this network without converting; ONNX Runtime has it since 1.14.
_OPSET = 18


def onnx_bytes(network: Any, backbone: Backbone) -> bytes:
    """The ONNX file: uint8 [n, height, width, 3] in, float32 [n, dim] out."""
    import onnx
    import torch

    pixels = torch.zeros(2, backbone.input_px, backbone.input_px, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        _from_pixels(network, backbone),
        (pixels,),
        dynamo=True,
        opset_version=_OPSET,
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        optimize=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _from_pixels(network: Any, backbone: Backbone) -> torch.nn.Module:
    """The network from raw pixels to the embedding."""
    import torch

    class FromPixels(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", 255 * torch.tensor(backbone.mean).view(3, 1, 1))
            self.register_buffer("scale", 1 / (255 * torch.tensor(backbone.std).view(3, 1, 1)))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.permute(0, 3, 1, 2).float()
            features = self.network.forward_features((pixels - self.mean) * self.scale)
            # timm's pooling layer gives the same, but is exported as a slow gather of every element
            return torch.as_tensor(features.mean((2, 3)))

    return FromPixels().eval()


def _strip(model: Any) -> None:
    """Remove what tells where and by which build it was made: the same versions give the same bytes."""
    model.producer_name, model.producer_version = "penultimate", ""
    del model.graph.value_info[:]
    for part in _parts(model):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _parts(model: Any) -> Iterator[Any]:
    graph = model.graph
    yield from (model, graph)
    for parts in (graph.node, graph.initializer, graph.input, graph.output):
        yield from parts
